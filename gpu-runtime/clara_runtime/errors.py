"""The errors that leave the runtime, their codes and exit codes.

    RuntimeFault(code, message)      what every part raises; the code is one of the protocol's RuntimeErrorCode
    Cancelled                        SIGTERM arrived (a BaseException, so that no `except Exception` swallows it)
    fault_of(exception)              the RuntimeFault that an arbitrary exception stands for
"""

from __future__ import annotations

import errno

EXIT_CODES = {
    "internal": 1,
    "spec_invalid": 2,
    "data_invalid": 3,
    "base_model_invalid": 4,
    "adapter_invalid": 5,
    "path_outside_root": 6,
    "out_of_memory": 7,
    "disk_full": 8,
    "cancelled": 9,
}

# Codes where the same job may succeed when it is tried again as it stands.
RETRYABLE = {"internal", "out_of_memory", "disk_full"}


class RuntimeFault(Exception):
    """A failure with a stable code, a message that says what, where and what to do, and whether a retry can help."""

    def __init__(self, code: str, message: str, *, retryable: bool | None = None) -> None:
        if code not in EXIT_CODES:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = code in RETRYABLE if retryable is None else retryable

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.code]

    def as_event(self) -> dict:
        """The fields of the protocol's `error` event."""
        return {"type": "error", "code": self.code, "message": self.message, "retryable": self.retryable}


class Cancelled(BaseException):
    """The job was told to stop. Not an Exception: libraries that catch those must not keep a cancelled job alive."""


def fault_of(error: BaseException) -> RuntimeFault:
    """Translate any exception into the RuntimeFault that is reported for it."""
    if isinstance(error, RuntimeFault):
        return error
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        return RuntimeFault("cancelled", "the job was cancelled")
    for cause in _chain(error):
        if _is_out_of_memory(cause):
            return RuntimeFault(
                "out_of_memory",
                f"out of memory ({_brief(cause)}): lower batch_size or max_length, raise gradient_accumulation_steps, "
                "turn on gradient_checkpointing, or use the qlora trainer",
            )
        if _is_disk_full(cause):
            where = f" at {cause.filename}" if isinstance(cause, OSError) and cause.filename else ""
            return RuntimeFault("disk_full", f"no space left on the device{where}: free some and run the same job again, it resumes")
    return RuntimeFault("internal", _brief(error))


def _chain(error: BaseException):
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    # PyTorch's CPU allocator raises a plain RuntimeError; a failed mmap of a weight file says "Cannot allocate memory".
    return isinstance(error, (RuntimeError, OSError)) and any(
        sign in text for sign in ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "std::bad_alloc")
    )


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors' Rust writer keeps only the text; torch.save's zip writer keeps not even that
    text = str(error).lower()
    return any(sign in text for sign in ("no space left on device", "(os error 28)", "pytorchstreamwriter failed writing", "unexpected pos", "iostream error"))


def _brief(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__
