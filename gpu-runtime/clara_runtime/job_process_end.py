"""What a job's output and the way its process ended mean."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from typing import Any

from .errors import EXIT_CODES, RuntimeFault

AGAIN = "start it again, it goes on from its last checkpoint"
ENDED_MEANWHILE = f"the runtime was ended while the job ran; {AGAIN}"
CODE_OF_EXIT = {number: code for code, number in EXIT_CODES.items()}


def fault_of_exit(status: int | None, was_oom_killed: bool, stderr_tail: str) -> RuntimeFault:
    """The fault of a job that ended without a last event; `status` None = lost with the fork server, below 0 = a signal."""
    if status is None:
        return RuntimeFault("internal", f"the job's process was lost together with the fork server; {AGAIN}")
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        if was_oom_killed and -status == signal.SIGKILL:
            return RuntimeFault(
                "out_of_memory", f"the system ran out of memory and killed the job ({name}); lower batch_size or max_length, then {AGAIN}"
            )
        return RuntimeFault("internal", f"the job was killed by signal {-status} ({name}); {AGAIN}", retryable=True)
    if CODE_OF_EXIT.get(status) == "cancelled":
        return RuntimeFault("internal", f"the job was told to end (SIGTERM) by something else than this runtime; {AGAIN}", retryable=True)
    code = CODE_OF_EXIT.get(status, "internal")
    return RuntimeFault(code, f"the job ended with exit code {status} and without a result{': ' + stderr_tail if stderr_tail else ''}")


def parse_event(line: bytes) -> dict[str, Any]:
    """An event of the job; anything else that got into its stdout becomes a log event."""
    kinds = {"phase", "progress", "metrics", "log", "checkpoint", "result", "error"}
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and event.get("type") in kinds and isinstance(event.get("time"), (int, float)):
            return event
    return {"time": round(time.time(), 3), "type": "log", "level": "info", "message": line.decode("utf-8", "replace").rstrip()[:4000]}


def oom_kills() -> int:
    """How often the kernel has killed for memory in this control group."""
    try:
        with open("/sys/fs/cgroup/memory.events", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError):
        return 0
