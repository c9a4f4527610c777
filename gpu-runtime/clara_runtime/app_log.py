"""What a process of the runtime says: JSON lines on stdout for the program that started it, plain lines on stderr for people."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def say(kind: str, **fields: Any) -> None:
    """One line on stdout for the program that started this one."""
    try:
        sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        return  # whoever started us no longer listens


def log(message: str) -> None:
    """One line on stderr; line breaks and control characters of foreign text are escaped."""
    clean = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    try:
        sys.stderr.write(f"clara_runtime: {clean}\n")
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        return


def rss_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
