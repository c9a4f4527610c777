"""Starts job processes: forked from a warm fork server where that is safe, else each from scratch. Same events either way.

Warm start saves the imports (torch, transformers, peft, trl: 15 s and more) of every job. A process that has looked at a GPU must
not be forked, so machines with an NVIDIA device start cold unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .app_log import log
from .child import child_environment, python_command
from .errors import RuntimeFault

LINE_LIMIT_BYTES = 256 * 1024 * 1024


def has_nvidia_device() -> bool:
    """Whether CUDA could be used here, told without loading CUDA."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return bool(glob.glob("/dev/nvidia[0-9]*")) or os.path.exists("/dev/dxg")


@dataclass(eq=False)
class JobProcess:
    """A started job: its events, its end, and a way to signal its whole process group."""

    pid: int
    events: asyncio.StreamReader
    exited: asyncio.Future[int | None]
    """Exit code, minus the signal, or None where nobody can tell any more."""
    send_signal: Any
    max_rss_bytes: int | None = field(default=None)


class ColdLauncher:
    """A new interpreter for each job."""

    def __init__(self, environment: dict[str, str]):
        self._environment = environment

    async def start(self, job_id: str, kind: str, argv: list[str], folder: Path, stderr: int) -> JobProcess:
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *python_command("clara_runtime.job_process", str(os.getpid()), kind, *argv),
                # Held open until this process ends; macOS jobs watch for that.
                stdin=subprocess.PIPE if not sys.platform.startswith("linux") else subprocess.DEVNULL,
                stdout=write_end,
                stderr=stderr,
                env=self._environment,
                cwd=folder,
                start_new_session=True,
            )
        finally:
            os.close(write_end)

        def send(number: int) -> None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

        async def wait() -> int | None:
            code = await process.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return code

        return JobProcess(process.pid, await _reader(read_end), asyncio.ensure_future(wait()), send)

    async def prepare(self) -> None:
        """Waits until a start is quick."""
        return None

    def close(self) -> None:
        return None


class WarmLauncher:
    """Jobs forked from `zygote.py`; falls back to cold starts where the fork server cannot be had."""

    def __init__(self, environment: dict[str, str]):
        self._environment = environment
        self._cold = ColdLauncher(environment)
        self._processes: dict[str, JobProcess] = {}
        self._starting: dict[str, asyncio.Future[int]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ready: asyncio.Future[bool] | None = None
        self._failures = 0  # in a row, without having become ready

    def open(self) -> None:
        """Starts the fork server; call it on the main thread, whose end the kernel then tells it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._process = subprocess.Popen(
            python_command("clara_runtime.zygote", str(theirs.fileno()), str(os.getpid())),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[theirs.fileno()],
            env=self._environment,
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._read)

    async def prepare(self) -> None:
        """Waits until the fork server has its imports; starts it again where it was lost."""
        if self._channel is None and self._failures < 2:
            self.open()
        if self._ready is not None:
            await asyncio.shield(self._ready)

    async def start(self, job_id: str, kind: str, argv: list[str], folder: Path, stderr: int) -> JobProcess:
        await self.prepare()
        if self._channel is None:
            return await self._cold.start(job_id, kind, argv, folder, stderr)
        loop = asyncio.get_running_loop()
        started = self._starting[job_id] = loop.create_future()
        read_end, write_end = os.pipe()
        try:
            message = json.dumps({"type": "start", "job": job_id, "kind": kind, "argv": argv, "cwd": str(folder)}).encode()
            socket.send_fds(self._channel, [message], [write_end, stderr])
        except OSError as error:
            os.close(read_end)
            self._starting.pop(job_id, None)
            raise RuntimeFault("internal", f"the fork server does not answer ({error})") from error
        finally:
            os.close(write_end)
        reader = await _reader(read_end)
        job = JobProcess(0, reader, loop.create_future(), lambda number: self._send(type="signal", job=job_id, signal=number))
        self._processes[job_id] = job
        try:
            job.pid = await started
        finally:
            self._starting.pop(job_id, None)
        return job

    def close(self) -> None:
        if self._process is not None:
            # It kills its jobs when it is told to end.
            self._process.terminate()

    def _send(self, **message: Any) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(json.dumps(message).encode())

    def _read(self) -> None:
        assert self._channel is not None
        assert self._ready is not None
        while self._channel is not None:
            try:
                data = self._channel.recv(64 * 1024)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost("it ended")
                return
            message = json.loads(data)
            if message["type"] == "ready":
                self._failures = 0
                mib = message["rss_bytes"] // 2**20
                log(f"fork server ready after {message['seconds']} s, {mib} MiB resident, {message['threads']} thread(s)")
                self._ready.set_result(True)
            elif message["type"] == "failed":
                self._lost(message["message"])
            elif message["type"] == "started":
                self._starting[message["job"]].set_result(message["pid"])
            elif message["type"] == "exited":
                job = self._processes.pop(message["job"])
                job.max_rss_bytes = message["max_rss_bytes"]
                job.exited.set_result(message["status"])

    def _lost(self, why: str) -> None:
        """The fork server is gone, and with it (by the kernel) its jobs."""
        assert self._channel is not None
        log(f"fork server lost: {why}")
        self._failures += 1
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._channel.close()
        self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(False)
        for future in self._starting.values():
            future.set_exception(RuntimeFault("internal", f"the fork server was lost while it started the job: {why}"))
        for job in self._processes.values():
            job.exited.set_result(None)
        self._processes.clear()


Launcher = ColdLauncher | WarmLauncher


def make_launcher(start: str, pass_env: list[str], models: list[str]) -> Launcher:
    """`start`: `warm`, `cold`, or `auto` (warm on Linux machines without an NVIDIA device)."""
    environment = child_environment(pass_env, models)
    if not sys.platform.startswith("linux"):
        return ColdLauncher(environment)
    warm = start == "warm" or (start == "auto" and not has_nvidia_device())
    return WarmLauncher(environment) if warm else ColdLauncher(environment)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES, loop=loop)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), os.fdopen(descriptor, "rb", 0))
    return reader
