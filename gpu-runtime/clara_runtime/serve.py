"""Serves one base model and its LoRA adapters over HTTP, in vLLM's shapes.

    python -m clara_runtime.serve --model DIR --root DIR [--served-model-name base] [--host 127.0.0.1] [--port 0]

Stdout: `{"type": "listening", "url": …}` when the port is bound (`/health` answers 503 `starting` from then on), and
`{"type": "ready", …}` when the model answers, or `{"type": "failed", "code", "message"}` with that code's exit status.
"""

from __future__ import annotations

import argparse

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import __version__
from .app import Server, add_server_arguments, add_serving_arguments, json_response, run_main
from .app_log import log, rss_bytes, say
from .metrics import Metrics
from .openai_routes import serving_routes
from .paths import real_root
from .serving import Serving, skip_quantization_imports


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m clara_runtime.serve", description="Serves one base model and its LoRA adapters.")
    parser.add_argument("--model", required=True, help="folder of the base model (safetensors), the name of a bundled one, or a hub id")
    add_server_arguments(parser)
    add_serving_arguments(parser)
    arguments = parser.parse_args(argv)
    root = real_root(arguments.root)
    skip_quantization_imports()
    metrics = Metrics()
    serving = Serving(arguments, arguments.model, root, metrics)
    server = Server(arguments)

    def health(_request: Request) -> Response:
        return json_response({"status": serving.status, "version": __version__}, 200 if serving.status == "ok" else 503)

    async def startup() -> None:
        await serving.load()
        say("ready", **serving.describe(), rss_bytes=rss_bytes())
        log(f"serving {serving.base_name} at {server.url}, {rss_bytes() // 2**20} MiB resident")

    async def shutdown() -> None:
        serving.close()

    return server.run([Route("/health", health), metrics.route(), *serving_routes(serving)], startup, shutdown, lambda: None)


if __name__ == "__main__":
    run_main(main)
