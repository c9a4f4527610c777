"""The runtime's jobs API, and with `--serve-model` the serving routes in the same process and on the same port.

    python -m clara_runtime.api --root DIR [--serve-model DIR] [--port 0] [--max-jobs 2]

Stdout: `{"type": "listening", "url": …}`, then `{"type": "ready", …}` when jobs are taken and the model (if any) answers, or
`{"type": "failed", "code", "message"}` with that code's exit status. Jobs run in child processes (`launcher.py`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import __version__
from .app import Server, add_server_arguments, add_serving_arguments, json_response, run_main
from .app_log import log, rss_bytes, say
from .capabilities import Capabilities
from .files import FileStore, adapter_routes, file_routes
from .job_routes import job_routes
from .job_store import JobStore
from .jobs import JobManager
from .launcher import WarmLauncher, make_launcher
from .metrics import Metrics
from .openai_routes import serving_routes, version
from .paths import real_root
from .serving import Serving, skip_quantization_imports


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clara_runtime.api", description="Runs training and evaluation jobs, and serves a model beside them."
    )
    add_server_arguments(parser)
    parser.add_argument("--serve-model", help="also serve this base model: a folder, the name of a bundled one, or a hub id")
    add_serving_arguments(parser)
    parser.add_argument("--max-jobs", type=int, default=2, help="jobs that run at once (default 2)")
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder outside the root that base models may be read from (repeatable)",
    )
    parser.add_argument("--max-file-bytes", type=int, default=2 * 1024**3, help="largest file that may be uploaded (default 2 GiB)")
    parser.add_argument(
        "--start", choices=["auto", "warm", "cold"], default="auto", help="fork jobs from a process with warm imports (default: auto)"
    )
    parser.add_argument("--cold", dest="start", action="store_const", const="cold", help="the same as --start cold")
    parser.add_argument(
        "--pass-env",
        action="append",
        default=[],
        metavar="NAME",
        help="an environment variable that jobs may see, e.g. HF_TOKEN (repeatable)",
    )
    arguments = parser.parse_args(argv)
    if arguments.max_jobs < 1:
        parser.error("--max-jobs must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    root = real_root(arguments.root)
    models = [str(Path(folder).resolve()) for folder in arguments.models]
    if arguments.serve_model and os.path.isdir(arguments.serve_model):
        # What is served may also be trained on.
        models.append(str(Path(arguments.serve_model).resolve()))
    skip_quantization_imports()
    metrics = Metrics()
    server = Server(arguments)
    launcher = make_launcher(arguments.start, arguments.pass_env, models)
    jobs = JobManager(JobStore(root), launcher, metrics, arguments.max_jobs, models)
    capabilities = Capabilities()
    serving = Serving(arguments, arguments.serve_model, root, metrics) if arguments.serve_model else None

    def health(_request: Request) -> Response:
        status = "ok" if serving is None else serving.status
        body = {"status": status, "version": __version__, "active_jobs": jobs.active_count, "max_concurrent_jobs": jobs.max_jobs}
        return json_response(body, 500 if status == "failed" else 200)

    async def describe(_request: Request) -> Response:
        return json_response(await capabilities.describe(_serving_part(serving)))

    def is_loaded(folder: Path) -> bool:
        engine = serving.loaded if serving else None
        return engine is not None and any(adapter.path == str(folder) for adapter in engine.adapters.values())

    async def startup() -> None:
        capabilities.open()
        if isinstance(launcher, WarmLauncher):
            launcher.open()
        jobs.open()
        described: dict[str, Any] = {}
        if serving is not None:
            await serving.load()
            described = serving.describe()
        say("ready", **described, rss_bytes=rss_bytes())
        log(f"runtime at {server.url}, {rss_bytes() // 2**20} MiB resident" + (f", serving {serving.base_name}" if serving else ""))

    async def shutdown() -> None:
        if serving is not None:
            serving.close()
        await jobs.close()

    routes = [
        Route("/health", health),
        Route("/v1/capabilities", describe),
        metrics.route(),
        *job_routes(jobs),
        *file_routes(FileStore(root, arguments.max_file_bytes)),
        *adapter_routes(root, is_loaded),
        *(serving_routes(serving) if serving else [Route("/version", version)]),
    ]
    return server.run(routes, startup, shutdown, jobs.kill_all)


def _serving_part(serving: Serving | None) -> dict[str, Any] | None:
    engine = serving.loaded if serving else None
    if serving is None or engine is None:
        return None
    return {
        "base_model": serving.model,
        "base_model_sha256": engine.base_sha256,
        "max_lora_rank": serving.max_lora_rank,
        "max_adapters": serving.max_adapters,
    }


if __name__ == "__main__":
    run_main(main)
