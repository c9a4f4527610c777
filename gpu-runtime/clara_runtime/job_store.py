"""Jobs on disk: what is needed to know every job again after kill -9.

root/jobs/ID/spec.json       the spec as it was posted
root/jobs/ID/state.json      the record below, replaced atomically and fsynced at each change
root/jobs/ID/events.jsonl    the events of the current run, one JSON object a line, appended before anybody sees them
root/jobs/ID/events-N.jsonl  the events of earlier run N
root/jobs/ID/stderr.log      what the job's libraries print
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .app_log import log
from .errors import RuntimeFault
from .paths import write_atomically

JOB_ID = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
STDERR_KEPT_BYTES = 1024 * 1024
ENDED = {"completed", "failed", "cancelled"}


@dataclass(eq=False)
class JobRecord:
    """A job as it is stored; `public()` is the protocol's RuntimeJob."""

    job_id: str
    kind: str
    created_at: float
    order: int
    """Place in the queue; a restarted job gets a new one."""
    status: str = "queued"
    started_at: float | None = None
    ended_at: float | None = None
    last_seq: int = 0
    error: dict[str, Any] | None = None
    run: int = 1
    pid: int | None = None
    pid_started: str | None = None
    """When the process began, in the kernel's own count, so that a reused number is not mistaken for it."""
    cancel_requested: bool = field(default=False)

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    def public(self) -> dict[str, Any]:
        names = ("job_id", "kind", "status", "created_at", "started_at", "ended_at", "last_seq", "error")
        return {name: getattr(self, name) for name in names}


class JobStore:
    """The folder of all jobs. One process at a time may hold it."""

    def __init__(self, root: Path):
        self.folder = root / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._claim()

    def _claim(self) -> Any:
        lock = open(self.folder / ".lock", "a+b")  # held until the process ends
        try:
            import fcntl
        except ImportError:  # Windows
            return lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeFault("internal", f"another runtime works on {self.folder.parent}: stop it, or choose another --root") from error
        return lock

    def path(self, job_id: str) -> Path:
        return self.folder / job_id

    def events_path(self, job_id: str) -> Path:
        return self.path(job_id) / "events.jsonl"

    def create(self, record: JobRecord, spec: dict[str, Any]) -> None:
        folder = self.path(record.job_id)
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "spec.json", json.dumps(spec, ensure_ascii=False))
        # state.json comes last: a folder without it is a job that was never acknowledged.
        self.save(record)

    def save(self, record: JobRecord) -> None:
        write_atomically(self.path(record.job_id) / "state.json", json.dumps(asdict(record)))

    def spec(self, job_id: str) -> dict[str, Any]:
        return json.loads((self.path(job_id) / "spec.json").read_text(encoding="utf-8"))

    def append(self, record: JobRecord, event: dict[str, Any], durable: bool = False) -> None:
        """Appends an event that already has its number."""
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        descriptor = os.open(self.events_path(record.job_id), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while line:
                line = line[os.write(descriptor, line) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        record.last_seq = event["seq"]

    def read_events(self, job_id: str, offset: int) -> Iterator[bytes]:
        """The whole lines from a byte offset on."""
        try:
            file = open(self.events_path(job_id), "rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield line

    def begin_new_run(self, record: JobRecord) -> None:
        """Puts the last run's events aside; the numbers go on, so that a reader's position stays valid."""
        events = self.events_path(record.job_id)
        with contextlib.suppress(FileNotFoundError):
            os.replace(events, events.with_name(f"events-{record.run}.jsonl"))
        record.run += 1

    def remove(self, job_id: str) -> None:
        shutil.rmtree(self.path(job_id))

    def load_all(self) -> list[JobRecord]:
        """Every stored job, in the order of its queue; events cut short by a crash are repaired."""
        records = []
        for folder in sorted(self.folder.iterdir()):
            if not folder.is_dir() or not JOB_ID.fullmatch(folder.name):
                continue
            try:
                stored = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                record = JobRecord(**{item.name: stored[item.name] for item in fields(JobRecord) if item.name in stored})
                if record.job_id != folder.name:
                    raise ValueError("the state belongs to another job")
                self._repair(record)
            except FileNotFoundError:
                continue  # never acknowledged
            except (OSError, ValueError, TypeError) as error:
                log(f"job {folder.name} is left out: its state cannot be read ({error})")
                continue
            records.append(record)
        return sorted(records, key=lambda record: record.order)

    def _repair(self, record: JobRecord) -> None:
        path = self.events_path(record.job_id)
        if not path.is_file():
            return
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            with open(path, "r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())
        last = whole.rstrip(b"\n").rpartition(b"\n")[2]
        if last:
            # Events are appended before the state is saved, so the file is ahead of it after a crash.
            record.last_seq = max(record.last_seq, seq_of(last))

    def last_event(self, record: JobRecord) -> dict[str, Any] | None:
        path = self.events_path(record.job_id)
        if not path.is_file():
            return None
        last = path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        return json.loads(last) if last else None

    def trim_stderr(self, job_id: str) -> None:
        """Keeps the end of what an ended job printed."""
        path = self.path(job_id) / "stderr.log"
        if path.stat().st_size > STDERR_KEPT_BYTES:
            path.write_bytes(path.read_bytes()[-STDERR_KEPT_BYTES:])

    def stderr_tail(self, job_id: str, characters: int = 600) -> str:
        """The end of what the job printed, for an error message."""
        try:
            with open(self.path(job_id) / "stderr.log", "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4 * characters))
                return file.read().decode("utf-8", "replace").strip()[-characters:]
        except FileNotFoundError:
            return ""


def seq_of(line: bytes) -> int:
    """The number of a stored event, which is its first field, without parsing all of a large result."""
    return int(line[len(b'{"seq":') : line.index(b",")])


def process_start(pid: int) -> str | None:
    """The kernel's start time of a process; None when it is gone (or this is not Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
