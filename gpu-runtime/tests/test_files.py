"""Files over HTTP: whole or not at all, checked, inside the root only."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import httpx
import pytest

from clara_runtime.app import build_app
from clara_runtime.errors import RuntimeFault
from clara_runtime.files import FileStore, adapter_routes, file_routes

LIMIT = 1000


class Files:
    def __init__(self, root):
        self.root = root
        self.loaded: list = []
        self._app = build_app(
            [*file_routes(FileStore(root, LIMIT)), *adapter_routes(root, lambda folder: folder in self.loaded)], None, False
        )

    def __call__(self, method: str, path: str, **options) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://x") as client:
                return await client.request(method, path, **options)

        return asyncio.run(call())

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@pytest.fixture()
def files(tmp_path):
    (tmp_path / "root").mkdir()
    return Files((tmp_path / "root").resolve())


def test_a_file_is_written_read_listed_replaced_and_deleted(files):
    body = "Grüße\n".encode()
    sha256 = hashlib.sha256(body).hexdigest()
    written = files("PUT", "/v1/files/data/a%20b/x.jsonl", content=body, headers={"x-content-sha256": sha256.upper()})
    assert written.status_code == 201 and written.json() == {"path": "data/a b/x.jsonl", "size": len(body), "sha256": sha256}
    read = files("GET", "/v1/files/data/a b/x.jsonl")
    assert read.content == body and read.headers["x-content-sha256"] == sha256
    assert files("PUT", "/v1/files/data/a b/x.jsonl", content=b"new").status_code == 200
    assert files("PUT", "/v1/files/other.txt", content=b"1").status_code == 201
    assert [file["path"] for file in files("GET", "/v1/files").json()["files"]] == ["other.txt", "data/a b/x.jsonl"]
    assert [file["path"] for file in files("GET", "/v1/files", params={"prefix": "data/"}).json()["files"]] == ["data/a b/x.jsonl"]
    assert files("DELETE", "/v1/files/data/a b/x.jsonl").status_code == 204
    assert files("GET", "/v1/files/data/a b/x.jsonl").status_code == 404
    assert files("DELETE", "/v1/files/data/a b/x.jsonl").status_code == 404


def test_a_wrong_hash_a_broken_header_or_too_much_leaves_nothing(files):
    wrong = files("PUT", "/v1/files/data/x", content=b"abc", headers={"x-content-sha256": "0" * 64})
    assert wrong.status_code == 422 and wrong.json()["error"]["clara_code"] == "data_invalid"
    assert files("PUT", "/v1/files/data/x", content=b"abc", headers={"x-content-sha256": "zz"}).status_code == 400
    assert files("PUT", "/v1/files/data/x", content=b"x" * (LIMIT + 1)).status_code == 413

    async def endless():
        for _ in range(LIMIT + 1):
            yield b"xx"

    assert files("PUT", "/v1/files/data/x", content=endless()).status_code == 413
    assert files.names() in ([], ["data"])


def test_readers_see_the_old_file_or_the_new_one(files):
    files("PUT", "/v1/files/x", content=b"a" * LIMIT)
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add((files.root / "x").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for letter in b"bcdefghij":
        files("PUT", "/v1/files/x", content=bytes([letter]) * LIMIT)
    stop.set()
    reader.join()
    assert all(len(content) == LIMIT and len(set(content)) == 1 for content in seen)
    assert files.names() == ["x"]


@pytest.mark.parametrize(
    "path",
    ["../x", "%2e%2e/x", "data/../../x", "data/..%2f..%2fx", "/etc/passwd", "%2fetc/passwd", "a//b", "a%00b", "a%0ab", "a%5c..%5cb", ".hidden", "a/.b", "jobs/j/state.json",
     "JOBS/j/state.json", "checkpoints/j/optimizer.pt", "cache/base-hashes.json", "link/x", "x" * 300, "a/"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_A16_a_path_that_is_not_plainly_inside_the_root_is_refused(files, tmp_path, path, method):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("secret")
    os.symlink(outside, files.root / "link")
    (files.root / "jobs" / "j").mkdir(parents=True)
    (files.root / "jobs" / "j" / "state.json").write_text("{}")
    before = files.names()
    refused = files(method, f"/v1/files/{path}", content=b"evil" if method == "PUT" else None)
    assert refused.status_code in (400, 404, 405), refused.text
    assert "secret" not in refused.text and (outside / "x").read_text() == "secret"
    assert files.names() == before and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "a/../../x", "a/./b", "/x", "a//b", "a/", "a\0b", "a\nb", "a\\b", ".x", "jobs", "Jobs/x", "checkpoints/x"],
)
def test_A16_such_a_path_is_refused_also_where_no_client_tidied_it(files, path):
    with pytest.raises(RuntimeFault) as refusal:
        FileStore(files.root, LIMIT).locate(path, writing=True)
    assert refusal.value.code == "path_outside_root"


def test_a_link_inside_the_root_is_not_listed(files, tmp_path):
    os.symlink(tmp_path, files.root / "link")
    (files.root / "y").symlink_to(tmp_path / "z")
    assert files("GET", "/v1/files").json()["files"] == []


def test_an_adapters_files_are_immutable(files):
    assert files("PUT", "/v1/files/adapters/a@v1/adapter_model.safetensors", content=b"one").status_code == 201
    assert files("PUT", "/v1/files/adapters/a@v1/adapter_model.safetensors", content=b"one").status_code == 200
    assert files("PUT", "/v1/files/adapters/a@v1/adapter_model.safetensors", content=b"two").status_code == 409
    assert files("GET", "/v1/files/adapters/a@v1/adapter_model.safetensors").content == b"one"


def test_an_adapter_is_deleted_unless_it_is_served(files):
    folder = files.root / "adapters" / "a@v1"
    files("PUT", "/v1/files/adapters/a@v1/x", content=b"one")
    files.loaded.append(folder)
    assert files("DELETE", "/v1/adapters/a@v1").status_code == 409 and folder.is_dir()
    files.loaded.clear()
    assert files("DELETE", "/v1/adapters/a@v1").status_code == 204 and files.names() == ["adapters"]
    assert files("DELETE", "/v1/adapters/a@v1").status_code == 404
    for name in ("..", "a", "a@v0", "%2e%2e", "a@v1%2f.."):
        assert files("DELETE", f"/v1/adapters/{name}").status_code in (400, 404, 405)
    assert files.root.is_dir()
