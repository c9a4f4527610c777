"""A job's own process, when it is started cold: `python … clara_runtime.job_process PARENT_PID KIND --spec … --root …`.

The fork server calls `run` directly. Without PR_SET_PDEATHSIG (macOS), the end of stdin tells that the API is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from .child import die_with_parent, raise_oom_score


def run(kind: str, argv: list[str]) -> int:
    """Runs the job program of that kind in this process and returns its exit code."""
    from . import program

    if kind == "train":
        from .train import train

        return program.main(train, "train", "training job", argv)
    from .evaluate import evaluate

    return program.main(evaluate, "evaluate", "evaluation job", argv)


def _watch_stdin() -> None:
    while os.read(0, 4096):
        continue
    os.killpg(0, signal.SIGKILL)


def main(argv: list[str]) -> int:
    die_with_parent(signal.SIGKILL, int(argv[0]))
    raise_oom_score()
    if not sys.platform.startswith("linux"):
        threading.Thread(target=_watch_stdin, daemon=True).start()
    return run(argv[1], argv[2:])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
