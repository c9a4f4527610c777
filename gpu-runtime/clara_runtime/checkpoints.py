"""Checkpoints that survive a kill at any moment: a folder counts only when its seal fits what is in it.

    root/checkpoints/JOB_ID/checkpoint-STEP/seal.json    {"spec": ..., "files": {name: sha256}}

transformers writes straight into the folder, so a half-written one looks whole; the seal is written last, after an fsync.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .data import file_hash
from .errors import RuntimeFault
from .paths import sync, write_atomically

SEAL = "seal.json"
LOCK_WAIT_S = 20.0


def fingerprint_of(spec: dict, hashes: dict[str, str | None]) -> str:
    """What a checkpoint belongs to: everything that shapes the training, with the data by content."""
    shaping = {key: spec.get(key) for key in ("trainer", "seed", "lora", "quantization", "settings", "init_adapter")}
    shaping["precision"] = spec["hardware"]["precision"]
    return hashlib.sha256(json.dumps([shaping, hashes], sort_keys=True).encode()).hexdigest()


def seal(folder: Path, owner: str) -> None:
    """Mark a checkpoint as whole."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != SEAL)
    for file in files:
        sync(file)
    write_atomically(folder / SEAL, json.dumps({"spec": owner, "files": {str(file.relative_to(folder)): file_hash(file) for file in files}}))
    sync(folder)


def newest_whole(folder: Path, owner: str, log: Callable[[str, str], None]) -> tuple[Path, int] | None:
    """The newest checkpoint that is whole and belongs to this spec, with its step; others are removed and named in the log."""
    found = []
    for path in folder.glob("checkpoint-*"):
        with contextlib.suppress(ValueError):
            found.append((int(path.name.removeprefix("checkpoint-")), path))
    for step, path in sorted(found, reverse=True):
        why = _flaw(path, owner)
        if why is None:
            return path, step
        log(f"checkpoint at step {step} is skipped: {why}", "warning")
        shutil.rmtree(path, ignore_errors=True)
    return None


def _flaw(path: Path, owner: str) -> str | None:
    try:
        stored = json.loads((path / SEAL).read_text(encoding="utf-8"))
        if stored["spec"] != owner:
            return "it belongs to other data or settings"
        for name, digest in stored["files"].items():
            if file_hash(path / name) != digest:
                return f"{name} is damaged"
    except FileNotFoundError as error:
        return f"half-written ({Path(error.filename).name} is missing)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable ({type(error).__name__})"
    return None


def keep_newest(folder: Path, keep: int) -> None:
    paths = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)
    for path in paths[keep:]:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def only_run_of(folder: Path) -> Iterator[None]:
    """Hold the job's lock: a run whose worker died may still be stopping when the next one starts."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(folder.name + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise RuntimeFault("internal", f"job {folder.name!r} is still running in another process", retryable=True) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
