"""Servers for the tests: the runtime as a program of its own, and the serving routes inside this process."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

RUNTIME = Path(__file__).resolve().parent.parent
PATIENCE_S = 120


class Program:
    """`python -m clara_runtime.MODULE`; its stdout lines are announcements."""

    def __init__(self, module: str, *arguments: str, token: str | None = None):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CLARA_RUNTIME_TOKEN": token or ""}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"clara_runtime.{module}", *arguments, "--exit-on-stdin-close"],
            cwd=RUNTIME,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said: list[dict] = []
        self.errors: list[str] = []
        self._lines: queue.Queue[dict | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()
        self._token = token
        self.url = ""

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr:
            self.errors.append(line.decode("utf-8", "replace"))

    def expect(self, kind: str) -> dict:
        """The next announcement, which must be of this kind."""
        line = self._lines.get(timeout=PATIENCE_S)
        assert line is not None and line["type"] == kind, (kind, line, self.errors[-5:])
        if kind == "listening":
            self.url = line["url"]
        return line

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def close(self) -> int:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return self.process.wait(timeout=10)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def until(condition, what: str, seconds: float = PATIENCE_S) -> Any:
    """Asks until the condition gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


def events_of(
    client: httpx.Client, job_id: str, after: int | None = None, header: int | None = None, take: int | None = None
) -> list[dict]:
    """The events of a job up to its end, or the first `take` of them."""
    found: list[dict] = []
    params = {} if after is None else {"after": str(after)}
    headers = {} if header is None else {"last-event-id": str(header)}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", params=params, headers=headers) as response:
        assert response.status_code == 200
        number = None
        for line in response.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                event = json.loads(line[6:])
                assert event["seq"] == number
                found.append(event)
                if len(found) == take:
                    break
    return found


def strong_adapter(folder: Path, seed: int, rank: int = 8) -> Path:
    """A LoRA adapter of the tiny base with random weights, strong enough to change what is said."""
    import torch
    from peft import LoraConfig, get_peft_model

    from clara_runtime.models import load_base, resolve_base

    torch.manual_seed(seed)
    model = get_peft_model(
        load_base(resolve_base(folder.parent, "tiny-base")),
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return folder


class Served:
    """The serving routes over real HTTP inside this process."""

    def __init__(self, root: Path, **settings: Any):
        import uvicorn
        from starlette.routing import Route

        from clara_runtime.app import add_serving_arguments, bind, build_app, json_response
        from clara_runtime.metrics import Metrics
        from clara_runtime.openai_routes import serving_routes
        from clara_runtime.serving import Serving

        parser = argparse.ArgumentParser()
        add_serving_arguments(parser)
        arguments = parser.parse_args([])
        for name, value in settings.items():
            setattr(arguments, name, value)
        self.metrics = Metrics()
        self.serving = Serving(arguments, "tiny-base", root, self.metrics)
        self.serving._load()
        health = Route("/health", lambda _request: json_response({"status": self.serving.status}))
        app = build_app([health, self.metrics.route(), *serving_routes(self.serving)], None, True)
        sock = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [sock]}, daemon=True)
        self._thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    @property
    def engine(self):
        return self.serving.engine

    def load(self, name: str, path: str) -> httpx.Response:
        return self.client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})

    def unload(self, name: str) -> httpx.Response:
        return self.client.post("/v1/unload_lora_adapter", json={"lora_name": name})

    def chat(self, content: Any, model: str = "base", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
        return self.client.post("/v1/chat/completions", json=body)

    def stream(self, content: Any, model: str = "base", **fields: Any) -> Iterator[dict]:
        """The chunks of a streamed chat answer; checks the frame around them."""
        body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "stream": True, **fields}
        with self.client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            done = False
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line:
                    assert line.startswith("data: ") and not done
                    yield json.loads(line[6:])
            assert done

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self.serving.close()
        self.client.close()


@functools.cache
def shared_root(folder: Path) -> Path:
    """A root with three adapters: one@v1 and two@v1 of rank 8, wide@v1 of rank 16."""
    (folder / "adapters").mkdir(parents=True, exist_ok=True)
    strong_adapter(folder / "adapters" / "one@v1", 1)
    strong_adapter(folder / "adapters" / "two@v1", 2)
    strong_adapter(folder / "adapters" / "wide@v1", 3, rank=16)
    return folder
