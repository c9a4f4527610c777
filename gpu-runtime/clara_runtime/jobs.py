"""The jobs of one runtime: at most so many at once, first come first served, each in a process of its own.

A job's life: queued → running → completed | failed | cancelled. Every change is on disk before it is told; events are appended
before they are streamed. After kill -9 of this process a queued job is still queued, and a job that ran is `failed`, retryable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from .app_log import log
from .errors import RuntimeFault, fault_of
from .http_errors import HttpError
from .job_process_end import ENDED_MEANWHILE, fault_of_exit, oom_kills, parse_event
from .job_store import JobRecord, JobStore, process_start, seq_of
from .launcher import JobProcess, Launcher
from .metrics import Metrics

CANCEL_GRACE_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 15.0


class JobManager:
    """Runs jobs on the event loop that called `open`."""

    def __init__(self, store: JobStore, launcher: Launcher, metrics: Metrics, max_jobs: int, models: list[str]):
        self._store = store
        self._launcher = launcher
        self._metrics = metrics
        self._models = models
        self.max_jobs = max_jobs
        self._records: dict[str, JobRecord] = {}
        self._processes: dict[str, JobProcess] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = 0
        self._occupied: set[str] = set()
        """Jobs whose process may still be there, also when their last word was said."""
        self._closing = False
        self._wake = asyncio.Event()

    # ------------------------------------------------------------------ beginning and end

    def open(self) -> None:
        """Takes up what an earlier process left, and starts working."""
        for record in self._store.load_all():
            self._records[record.job_id] = record
            self._order = max(self._order, record.order)
            if record.status == "running":
                self._settle_interrupted(record)
        self._metrics.active_jobs.set_function(lambda: self.active_count)
        self._metrics.queued_jobs.set_function(lambda: sum(record.status == "queued" for record in self._records.values()))
        self._spawn(self._dispatch())

    def _settle_interrupted(self, record: JobRecord) -> None:
        """A job that ran when the earlier process was killed: its process is ended, and what it had reported counts."""
        if record.pid is not None and record.pid_started is not None and process_start(record.pid) == record.pid_started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(record.pid, signal.SIGKILL)
        last = self._store.last_event(record)
        if last is not None and last["type"] in ("result", "error"):
            self._settle(record, last)
        elif record.cancel_requested:
            self._end_with(record, "cancelled", RuntimeFault("cancelled", "the job was cancelled"))
        else:
            fault = RuntimeFault("internal", ENDED_MEANWHILE)
            self._end_with(record, "failed", fault)

    async def close(self) -> None:
        """Ends all running jobs (within a second) and puts down that they may be started again."""
        self._closing = True
        self._wake.set()
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        running = [process.exited for process in self._processes.values()]
        if running:
            await asyncio.wait(running, timeout=1.0)
        self.kill_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.4)

    def kill_all(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGKILL)
        self._launcher.close()

    # ------------------------------------------------------------------ asking

    @property
    def active_count(self) -> int:
        return sum(record.status == "running" for record in self._records.values())

    def list(self) -> list[JobRecord]:
        return sorted(self._records.values(), key=lambda record: record.created_at)

    def get(self, job_id: str) -> JobRecord:
        record = self._records.get(job_id)
        if record is None:
            raise HttpError(404, f"job {job_id[:128]!r} does not exist", clara_code="spec_invalid")
        return record

    # ------------------------------------------------------------------ doing

    def submit(self, spec: dict[str, Any], restart: bool) -> tuple[JobRecord, bool]:
        """Queues a checked spec; the second value is False where the job was there already (the same id posted again)."""
        if self._closing:
            raise HttpError(503, "the runtime is ending", retryable=True)
        job_id = spec["job_id"]
        record = self._records.get(job_id)
        self._order += 1
        if record is None:
            record = JobRecord(job_id, spec["kind"], time.time(), self._order)
            self._store.create(record, spec)
            self._records[job_id] = record
            self._wake.set()
            return record, True
        if self._store.spec(job_id) != spec:
            raise HttpError(409, f"job {job_id} exists with another spec: use another job_id", clara_code="spec_invalid", retryable=False)
        if not restart or record.status not in ("failed", "cancelled"):
            return record, False
        self._store.begin_new_run(record)
        record.status, record.order, record.error = "queued", self._order, None
        record.started_at = record.ended_at = record.pid = record.pid_started = None
        record.cancel_requested = False
        self._store.save(record)
        self._tell(job_id)
        self._wake.set()
        return record, True

    async def cancel(self, job_id: str) -> JobRecord:
        """Asks a job to end; a running one has two seconds before it is killed. Ended jobs stay as they are."""
        record = self.get(job_id)
        if record.is_ended or record.cancel_requested:
            return record
        record.cancel_requested = True
        if record.status == "queued":
            self._end_with(record, "cancelled", RuntimeFault("cancelled", "the job was cancelled before it began"))
            return record
        self._store.save(record)
        process = self._processes.get(job_id)
        if process is not None:
            self._spawn(self._end_process(process))
        return record

    async def _end_process(self, process: JobProcess) -> None:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait([process.exited], timeout=CANCEL_GRACE_SECONDS)
        process.send_signal(signal.SIGKILL)

    def remove(self, job_id: str) -> None:
        """Forgets an ended job and its events; its adapter stays."""
        if not self.get(job_id).is_ended:
            raise HttpError(409, f"job {job_id} has not ended: cancel it first")
        self._store.remove(job_id)
        del self._records[job_id]

    # ------------------------------------------------------------------ running

    async def _dispatch(self) -> None:
        while not self._closing:
            self._wake.clear()
            queued = sorted((record for record in self._records.values() if record.status == "queued"), key=lambda record: record.order)
            queued = [record for record in queued if record.job_id not in self._occupied]
            if queued and len(self._occupied) < self.max_jobs:
                # The queue stays a queue while the fork server imports: what is cancelled meanwhile has never run.
                await self._launcher.prepare()
                if queued[0].status == "queued" and not self._closing:
                    queued[0].status, queued[0].started_at = "running", time.time()
                    self._occupied.add(queued[0].job_id)
                    self._spawn(self._run(queued[0]))
                continue
            await self._wake.wait()

    async def _run(self, record: JobRecord) -> None:
        try:
            self._store.save(record)
            self._tell(record.job_id)
            await self._run_process(record)
        except Exception as error:
            fault = fault_of(error)
            log(f"job {record.job_id}: {fault.message}")
            if not record.is_ended:
                self._end_with(record, "failed", fault)
        finally:
            process = self._processes.get(record.job_id)
            if process is not None and not process.exited.done():
                process.send_signal(signal.SIGKILL)
                await process.exited
            self._processes.pop(record.job_id, None)
            self._occupied.discard(record.job_id)
            self._wake.set()

    async def _run_process(self, record: JobRecord) -> None:
        folder = self._store.path(record.job_id)
        argv = ["--spec", str(folder / "spec.json"), "--root", str(self._store.folder.parent)]
        for model_folder in self._models:
            argv += ["--models", model_folder]
        kills_before = oom_kills()
        stderr = os.open(folder / "stderr.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await self._launcher.start(record.job_id, record.kind, argv, folder, stderr)
        finally:
            os.close(stderr)
        self._processes[record.job_id] = process
        record.pid, record.pid_started = process.pid, process_start(process.pid)
        self._store.save(record)
        if record.cancel_requested or self._closing:
            self._spawn(self._end_process(process))
        await self._pump(record, process)
        status = await process.exited
        if process.max_rss_bytes:
            log(f"job {record.job_id} ended with {status}, at most {process.max_rss_bytes // 2**20} MiB resident")
        self._store.trim_stderr(record.job_id)
        if not record.is_ended:
            self._conclude(record, status, oom_kills() > kills_before)

    async def _pump(self, record: JobRecord, process: JobProcess) -> None:
        """Stores and publishes events until the job closes its stdout or has said its last word, which ends the record."""
        while True:
            try:
                line = await process.events.readline()
            except ValueError:
                process.send_signal(signal.SIGKILL)
                raise RuntimeFault("internal", "the job printed a line beyond all limits and was ended") from None
            if not line:
                return
            event = parse_event(line)
            if event["type"] == "error" and event["code"] == "cancelled" and not record.cancel_requested:
                continue  # told to end by the closing runtime or by somebody else: `_conclude` says so
            self._append(record, event)
            if event["type"] in ("result", "error"):
                self._settle(record, event)
                asyncio.get_running_loop().call_later(5.0, process.send_signal, signal.SIGKILL)
                return

    def _settle(self, record: JobRecord, last: dict[str, Any]) -> None:
        """Ends the record as its final event says."""
        if last["type"] == "result":
            self._finish(record, "completed", None)
        else:
            self._finish(record, "cancelled" if last["code"] == "cancelled" else "failed", last)

    def _conclude(self, record: JobRecord, status: int | None, was_oom_killed: bool) -> None:
        """Ends the record of a job whose process went without a final event."""
        if record.cancel_requested:
            self._end_with(record, "cancelled", RuntimeFault("cancelled", "the job was cancelled"))
        elif self._closing:
            fault = RuntimeFault("internal", ENDED_MEANWHILE)
            self._end_with(record, "failed", fault)
        else:
            self._end_with(record, "failed", fault_of_exit(status, was_oom_killed, self._store.stderr_tail(record.job_id)))

    # ------------------------------------------------------------------ records and events

    def _append(self, record: JobRecord, event: dict[str, Any]) -> None:
        numbered = {"seq": record.last_seq + 1, **{key: value for key, value in event.items() if key != "seq"}}
        self._store.append(record, numbered, durable=event["type"] in ("result", "error", "checkpoint"))
        self._tell(record.job_id)

    def _end_with(self, record: JobRecord, status: str, fault: RuntimeFault) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep the job from ending; the state below says the same
            self._append(record, {"time": round(time.time(), 3), **fault.as_event()})
        self._finish(record, status, fault.as_event())

    def _finish(self, record: JobRecord, status: str, error: dict[str, Any] | None) -> None:
        record.status, record.ended_at = status, time.time()
        record.error = None if error is None else {name: error[name] for name in ("code", "message", "retryable")}
        try:
            self._store.save(record)
        except OSError as problem:
            log(f"job {record.job_id} is {status}, but that cannot be stored: {problem}")
        self._metrics.jobs_total.labels(record.kind, status).inc()
        if record.started_at is not None:
            self._metrics.job_seconds.labels(record.kind).observe(record.ended_at - record.started_at)
        self._tell(record.job_id)

    def _tell(self, job_id: str) -> None:
        event = self._changed.pop(job_id, None)
        if event is not None:
            event.set()

    async def events(self, job_id: str, after: int) -> AsyncIterator[bytes | None]:
        """Stored event lines numbered above `after`, then new ones as they come, up to the job's end; None = nothing for a while."""
        record = self.get(job_id)
        run, offset = record.run, 0
        while True:
            if record.run != run:
                run, offset = record.run, 0
            changed = self._changed.setdefault(job_id, asyncio.Event())
            for line in self._store.read_events(job_id, offset):
                offset += len(line)
                seq = seq_of(line)
                if seq > after:
                    after = seq
                    yield line
            if record.run == run and record.is_ended and after >= record.last_seq:
                return
            if changed.is_set():
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except asyncio.TimeoutError:  # Python 3.10 has two kinds
                yield None

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
