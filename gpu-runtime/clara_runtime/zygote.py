"""The fork server of the jobs API: imports the heavy libraries once, then forks a process for each job.

    started by launcher.py with one end of a Unix socket pair (SOCK_SEQPACKET, one JSON object a message)

    in:   {"type": "start", "job": ID, "kind": "train", "argv": […], "cwd": DIR}  + file descriptors of stdout and stderr
          {"type": "signal", "job": ID, "signal": 15}
    out:  {"type": "ready", "seconds", "rss_bytes"} or {"type": "failed", "message"}
          {"type": "started", "job", "pid"}
          {"type": "exited", "job", "status", "max_rss_bytes"}     status < 0 is the signal that ended it

It has one thread and never touches CUDA. Each job leads a session of its own; when the API goes, the socket ends, all jobs are
killed and so is this process (on Linux the kernel also sees to that, by PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from .child import die_with_parent, raise_oom_score

MESSAGE_BYTES = 64 * 1024


class Zygote:
    def __init__(self, channel: socket.socket):
        self._channel = channel
        self._jobs: dict[int, str] = {}
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        if not self._preload():
            return 1
        while True:
            readable, _, _ = select.select([self._channel, self._wake_read], [], [])
            if self._wake_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            self._reap()
            if self._channel in readable and not self._obey():
                self._kill_all()
                return 0

    def _preload(self) -> bool:
        started = time.perf_counter()
        try:
            from . import evaluate, preload, program, train  # noqa: F401
        except Exception as error:
            self._send(type="failed", message=f"{type(error).__name__}: {error}")
            return False
        # Children then share the libraries' pages instead of copying them at their first collection.
        gc.collect()
        gc.freeze()
        from .app_log import rss_bytes

        self._send(
            type="ready", seconds=round(time.perf_counter() - started, 3), rss_bytes=rss_bytes(), threads=len(os.listdir("/proc/self/task"))
        )
        return True

    def _obey(self) -> bool:
        """Handles one message; False when the API is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 2)
        if not data:
            return False
        message: dict[str, Any] = json.loads(data)
        if message["type"] == "start":
            try:
                self._start(message, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        else:
            for pid, job in self._jobs.items():
                if job == message["job"]:
                    # Not yet reaped, so the process group still is this job's.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, message["signal"])
        return True

    def _start(self, message: dict[str, Any], descriptors: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_job(parent, message, descriptors)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # also here, so that a signal sent at once finds the group
        self._jobs[pid] = message["job"]
        self._send(type="started", job=message["job"], pid=pid)

    def _become_job(self, parent: int, message: dict[str, Any], descriptors: list[int]) -> None:
        code = 1
        try:
            with contextlib.suppress(PermissionError):
                os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            die_with_parent(signal.SIGKILL, parent)
            raise_oom_score()
            self._channel.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(descriptors[0], 1)
            os.dup2(descriptors[1], 2)
            for descriptor in (null, *descriptors):
                if descriptor > 2:
                    os.close(descriptor)
            os.chdir(message["cwd"])
            from .job_process import run

            code = run(message["kind"], message["argv"])
        except BaseException as error:
            with contextlib.suppress(Exception):
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._jobs):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            # Before the process is reaped its group cannot be anybody else's: end what the job left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            job = self._jobs.pop(pid)
            self._send(type="exited", job=job, status=os.waitstatus_to_exitcode(status), max_rss_bytes=usage.ru_maxrss * 1024)

    def _send(self, **message: Any) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            self._kill_all()
            os._exit(0)

    def _kill_all(self) -> None:
        for pid in self._jobs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _stop(self, *_: Any) -> None:
        self._kill_all()
        os._exit(0)


def main(argv: list[str]) -> int:
    channel = socket.socket(fileno=int(argv[0]))
    die_with_parent(signal.SIGTERM, int(argv[1]))
    return Zygote(channel).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
