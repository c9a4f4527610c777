"""What train.py and evaluate.py share as programs: the event stream on stdout, cancelling, exit codes.

Only events go to stdout. File descriptor 1 is pointed at stderr before any library is imported, so that not even C code can
write between two events. SIGTERM raises `Cancelled` in the main thread; a watchdog ends the process if that thread is deep in
native code and does not react in time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import EXIT_CODES, Cancelled, RuntimeFault, fault_of
from .paths import real_root
from .protocol import Emit, Emitter, parse_spec

# A cancelled job must be gone within 2 s: this long for a clean end, the rest for the process to go down.
CLEAN_CANCEL_S = 1.5


@dataclass
class Context:
    """What a job runs in: its root, where its events go, which base model folders it may read, and its clock."""

    root: Path
    emit: Emitter
    models: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.emit("phase", phase=name)
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - begin, 3)


Job = Callable[[dict, Context], dict]


def run_job(job: Job, kind: str, spec: dict | str | bytes, root: str | os.PathLike, emit: Emit, *, models: list[str] | None = None, first_seq: int = 1) -> int:
    """Run a job to its end: every outcome becomes a final `result` or `error` event and an exit code; nothing is raised.

    `emit` gets finished events. In the main thread SIGTERM cancels the job; a BrokenPipeError from `emit` does so too (whoever
    wanted the events is gone).
    """
    whole = _WholeEvents(emit)
    emitter = Emitter(whole, first_seq=first_seq)
    with _cancellable(emitter, whole):
        try:
            try:
                result = job(parse_spec(spec, kind), Context(real_root(root), emitter, list(models or [])))
                emitter("result", result=result)
                return 0
            except BrokenPipeError as error:
                raise Cancelled from error
        except (Exception, Cancelled, KeyboardInterrupt) as error:
            fault = fault_of(error)
            if fault.code == "internal":
                import traceback

                traceback.print_exc(file=sys.stderr)
            with contextlib.suppress(BrokenPipeError):
                emitter.fail(fault)
            return fault.exit_code


class _WholeEvents:
    """Keeps a cancel from cutting an event in two: it waits until the event is out."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._busy = self._cancelled = False

    def __call__(self, event: dict) -> None:
        self._busy = True
        try:
            self._emit(event)
        finally:
            self._busy = False
        if self._cancelled:
            self._cancelled = False
            raise Cancelled

    def cancel(self) -> None:
        if self._busy:
            self._cancelled = True
        else:
            raise Cancelled


@contextlib.contextmanager
def _cancellable(emitter: Emitter, whole: _WholeEvents) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The C-level signal handler writes to this pipe at once, even while the main thread is inside native code.
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    finished = threading.Event()

    def watch() -> None:
        while not finished.is_set():
            if signal.SIGTERM in os.read(read_end, 64) and not finished.wait(CLEAN_CANCEL_S):
                with contextlib.suppress(BaseException):
                    emitter.fail(RuntimeFault("cancelled", "the job was cancelled (its process was ended while busy)"))
                os._exit(EXIT_CODES["cancelled"])

    def cancel(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; a second one must not disturb the clean-up
        whole.cancel()

    watchdog = threading.Thread(target=watch, name="cancel-watchdog", daemon=True)
    watchdog.start()
    old_handler = signal.signal(signal.SIGTERM, cancel)
    old_wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGTERM, old_handler)
        os.write(write_end, b"\0")
        watchdog.join()
        os.close(read_end)
        os.close(write_end)


def claim_stdout() -> Emit:
    """Keep the real stdout for events alone, and send everything else that is printed to stderr."""
    sys.stdout.flush()
    events = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def write(event: dict) -> None:
        line = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogatepass")
        while line:
            line = line[os.write(events, line) :]

    return write


def main(job: Job, kind: str, description: str, argv: list[str] | None = None) -> int:
    """The command line of a job program; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m clara_runtime.{kind}", description=description)
    parser.add_argument("--spec", required=True, help="job spec, a JSON file; - reads stdin")
    parser.add_argument("--root", required=True, help="the runtime's folder: every path of the spec lies in it")
    parser.add_argument("--models", action="append", default=[], metavar="DIR", help="a folder outside the root that base models may be read from (repeatable; also CLARA_RUNTIME_MODELS)")
    options = parser.parse_args(argv)
    write = claim_stdout()
    try:
        spec = sys.stdin.buffer.read() if options.spec == "-" else Path(options.spec).read_bytes()
    except OSError as error:
        fault = RuntimeFault("spec_invalid", f"the spec cannot be read: {error}")
        Emitter(write).fail(fault)
        return fault.exit_code
    return run_job(job, kind, spec, options.root, write, models=options.models)


def set_threads(threads: int | None) -> None:
    """CPU threads of this process; after a fork too, where the environment variable comes too late."""
    import torch

    wanted = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    if wanted > 0:
        torch.set_num_threads(wanted)
