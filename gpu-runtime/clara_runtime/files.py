"""Files under the root over HTTP, for a runtime on another machine: training data in, adapters out or in.

    PUT    /v1/files/data/x.jsonl     optional header x-content-sha256: HEX, checked; atomic: readers see the old or the new file
    GET    /v1/files/adapters/a@v1/adapter_model.safetensors
    DELETE /v1/files/data/x.jsonl
    GET    /v1/files?prefix=data/

Folders under `jobs` and names that begin with a dot are the runtime's own. Files of an adapter are immutable: writing other bytes
to one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from .app import json_response
from .errors import RuntimeFault, fault_of
from .http_errors import HttpError
from .paths import adapter_folder, inside, sync

OWN_FOLDERS = {"jobs", "cache", "checkpoints"}
LIST_LIMIT = 10_000
PART = re.compile(r"^[^\x00-\x1f\x7f\\/]{1,200}$")


class FileStore:
    """Reads and writes below one root."""

    def __init__(self, root: Path, limit_bytes: int):
        self._root = root
        self._limit_bytes = limit_bytes

    def locate(self, path: str, writing: bool) -> Path:
        """The file that a request's path means; raises RuntimeFault `path_outside_root` for whatever is not plainly below the root."""
        parts = path.split("/")
        if not path or any(not PART.fullmatch(part) or part.startswith(".") or part.endswith(" ") for part in parts):
            raise RuntimeFault("path_outside_root", f"{path[:200]!r} is not a plain relative path of a file in the root")
        if parts[0].casefold() in OWN_FOLDERS or (writing and len(parts) == 1 and (self._root / path).is_dir()):
            raise RuntimeFault("path_outside_root", f"{parts[0]!r} is the runtime's own and not open to the files API")
        return inside(self._root, path, must_exist=False)

    async def write(self, target: Path, request: Request, expected: str | None) -> tuple[dict[str, Any], bool]:
        """Streams the body into a temporary file beside the target, checks it, and puts it in place."""
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit_bytes:
            raise self._too_large()
        await asyncio.to_thread(lambda: target.parent.mkdir(parents=True, exist_ok=True))
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._limit_bytes:
                        raise self._too_large()
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(lambda: (file.flush(), os.fsync(file.fileno())))
            sha256 = digest.hexdigest()
            if expected is not None and sha256 != expected:
                raise HttpError(
                    422, f"the body's SHA-256 is {sha256}, not {expected} as the header says", clara_code="data_invalid", retryable=True
                )
            existed = target.exists()
            if existed and self._is_adapter_file(target):
                if await asyncio.to_thread(_sha256, target) != sha256:
                    raise HttpError(
                        409, f"{target.name} belongs to an adapter, which is immutable: write a new version", clara_code="adapter_invalid"
                    )
            else:
                await asyncio.to_thread(lambda: (os.replace(temporary, target), sync(target.parent)))
            return {"path": target.relative_to(self._root).as_posix(), "size": size, "sha256": sha256}, not existed
        except OSError as error:
            if target.is_dir():
                raise HttpError(409, f"{target.name} is a folder") from error
            raise fault_of(error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def list(self, prefix: str) -> list[dict[str, Any]]:
        """Files whose path begins with the prefix, by name; dot files and the runtime's own folders are left out."""
        found = []
        for folder, folders, names in os.walk(self._root):
            relative = Path(folder).relative_to(self._root).as_posix()
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not (relative == "." and name in OWN_FOLDERS))
            for name in sorted(names):
                path = name if relative == "." else f"{relative}/{name}"
                full = Path(folder) / name
                if name.startswith(".") or not path.startswith(prefix) or full.is_symlink():
                    continue
                status = full.stat()
                found.append({"path": path, "size": status.st_size, "modified_at": round(status.st_mtime, 3)})
                if len(found) == LIST_LIMIT:
                    return found
        return found

    def _is_adapter_file(self, target: Path) -> bool:
        return target.relative_to(self._root).parts[0] == "adapters"

    def _too_large(self) -> HttpError:
        return HttpError(413, f"files may have at most {self._limit_bytes} bytes (--max-file-bytes)", clara_code="data_invalid")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()
        )


def file_routes(store: FileStore) -> list[Route]:
    async def put(request: Request) -> Response:
        expected = request.headers.get("x-content-sha256")
        if expected is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", expected):
            raise HttpError(400, "x-content-sha256 must be 64 hexadecimal digits", param="x-content-sha256")
        target = store.locate(request.path_params["path"], writing=True)
        described, is_new = await store.write(target, request, expected and expected.lower())
        return json_response(described, 201 if is_new else 200)

    async def get(request: Request) -> Response:
        target = store.locate(request.path_params["path"], writing=False)
        if not target.is_file():
            raise HttpError(404, f"file {request.path_params['path'][:200]!r} does not exist", clara_code="data_invalid")
        return FileResponse(
            target, media_type="application/octet-stream", headers={"x-content-sha256": await asyncio.to_thread(_sha256, target)}
        )

    async def delete(request: Request) -> Response:
        target = store.locate(request.path_params["path"], writing=True)
        if not target.is_file():
            raise HttpError(404, f"file {request.path_params['path'][:200]!r} does not exist", clara_code="data_invalid")
        target.unlink()
        return Response(status_code=204)

    async def list_files(request: Request) -> Response:
        return json_response({"files": await asyncio.to_thread(store.list, request.query_params.get("prefix", ""))})

    return [
        Route("/v1/files", list_files, methods=["GET"]),
        Route("/v1/files/{path:path}", put, methods=["PUT"]),
        Route("/v1/files/{path:path}", get, methods=["GET"]),
        Route("/v1/files/{path:path}", delete, methods=["DELETE"]),
    ]


def adapter_routes(root: Path, is_loaded: Any) -> list[Route]:
    """`is_loaded(folder)`: whether that adapter folder answers requests in this process."""

    async def delete(request: Request) -> Response:
        folder = adapter_folder(root, request.path_params["name"])
        if not folder.is_dir() or folder.is_symlink():
            raise HttpError(404, f"adapter {request.path_params['name'][:100]!r} does not exist", clara_code="adapter_invalid")
        if is_loaded(folder):
            raise HttpError(409, f"adapter {folder.name} is being served: unload it first", clara_code="adapter_invalid")
        # Renamed first: a half-deleted adapter must not look like a whole one.
        doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.deleted")
        os.rename(folder, doomed)
        await asyncio.to_thread(shutil.rmtree, doomed)
        return Response(status_code=204)

    return [Route("/v1/adapters/{name}", delete, methods=["DELETE"])]
