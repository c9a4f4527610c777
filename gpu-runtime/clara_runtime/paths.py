"""Folders under the runtime's root, and the guard that keeps every path of a spec inside it.

    root/adapters/NAME@vN     finished adapters (immutable)
    root/checkpoints/JOB_ID   a running job's checkpoints (removed after success)
    root/cache                hashes of base models
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import RuntimeFault

ADAPTER_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}@v[1-9][0-9]*$")


def real_root(root: str | os.PathLike) -> Path:
    """The root folder with all symbolic links resolved; created when missing."""
    path = Path(root)
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve(strict=True)


def inside(root: str | os.PathLike, path: str, *, what: str = "path", code: str = "spec_invalid", must_exist: bool = True) -> Path:
    """Resolve `path` (relative to `root`, or absolute) and refuse it unless it ends up inside `root`, links followed.

    Raises RuntimeFault: `path_outside_root`, or `code` where the path does not exist.
    """
    if not path or "\0" in path:
        raise RuntimeFault("path_outside_root", f"{what} {path!r} is not a path")
    home = Path(root).resolve()
    try:
        real = (home / path).resolve()
    except (OSError, RuntimeError) as error:  # too long, or a loop of links
        raise RuntimeFault("path_outside_root", f"{what} {path[:200]!r} cannot be resolved: {error}") from error
    if real != home and home not in real.parents:
        raise RuntimeFault("path_outside_root", f"{what} {path!r} leads outside the runtime's root {home}")
    if must_exist and not real.exists():
        raise RuntimeFault(code, f"{what} {path!r} does not exist under {home}")
    return real


def adapter_folder(root: str | os.PathLike, adapter_name: str) -> Path:
    """`root/adapters/NAME@vN`; raises RuntimeFault `adapter_invalid` for any other form of name."""
    if not ADAPTER_NAME.fullmatch(adapter_name):
        raise RuntimeFault("adapter_invalid", f"adapter name {adapter_name[:100]!r} must look like name@v1")
    return Path(root).resolve() / "adapters" / adapter_name


def checkpoint_folder(root: str | os.PathLike, job_id: str) -> Path:
    return Path(root).resolve() / "checkpoints" / job_id


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that becomes `target` when the block ends without an error.

    Files and folders are fsynced before the rename, so after a power loss `target` is either absent or whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for name in files:
                sync(Path(folder) / name)
            sync(Path(folder))
        os.rename(temporary, target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(target: Path, text: str) -> None:
    """Replace a small text file in one step, fsynced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
