"""How a child process of the runtime is started: isolated from the caller's Python settings and environment, never outliving it.

`-I` keeps PYTHONPATH, the user's site folder and the working directory out of the module search; only this package's own folder is added.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

PACKAGE_FOLDER = str(Path(__file__).resolve().parent.parent)
BOOTSTRAP = "import runpy, sys; sys.path.insert(0, sys.argv[1]); module = sys.argv[2]; del sys.argv[1:3]; runpy.run_module(module, run_name='__main__', alter_sys=True)"

PASSED = {
    "PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "XDG_CACHE_HOME",
    "SYSTEMROOT", "USERPROFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CLARA_RUNTIME_MODELS", "CLARA_CHECK_EVENTS",
}  # fmt: skip
PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "TORCH_")


def child_environment(extra_names: list[str], models: list[str]) -> dict[str, str]:
    """The environment of a job: what Python, CUDA and the model cache need, and the names that the operator adds; no keys, no tokens."""
    environment = {
        name: value for name, value in os.environ.items() if name in PASSED or name.startswith(PASSED_PREFIXES) or name in extra_names
    }
    folders = [*models, *filter(None, environment.get("CLARA_RUNTIME_MODELS", "").split(os.pathsep))]
    if folders:
        environment["CLARA_RUNTIME_MODELS"] = os.pathsep.join(dict.fromkeys(folders))
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    return environment


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package in an isolated interpreter."""
    return [sys.executable, "-I", "-X", "utf8", "-c", BOOTSTRAP, PACKAGE_FOLDER, module, *arguments]


def die_with_parent(number: int, parent: int) -> None:
    """Linux: have the kernel send `number` to this process when its parent ends; elsewhere does nothing."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def raise_oom_score() -> None:
    """Makes the kernel end this job, rather than the API that reports it, when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
