"""What every HTTP process of the runtime shares: bodies, error answers, the socket, announcements, and a prompt end.

Stdout carries one JSON object a line: `listening` when the port is bound, then `ready` or `failed`. Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from .app_log import log, say
from .auth import Guard, is_loopback
from .errors import EXIT_CODES, RuntimeFault, fault_of
from .http_errors import HttpError, http_error
from .protocol import parse_json

BODY_LIMIT_BYTES = 32 * 1024 * 1024
LARGE_BODY_BYTES = 256 * 1024


async def json_body(request: Request, limit: int = BODY_LIMIT_BYTES) -> dict[str, Any]:
    """The request's JSON object; refuses what is too large, too deep, or not an object."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise HttpError(413, f"the body is larger than {limit} bytes")
    try:
        # Large bodies are parsed beside the event loop, so that running streams do not stall.
        value = parse_json(bytes(data)) if len(data) < LARGE_BODY_BYTES else await asyncio.to_thread(parse_json, bytes(data))
    except ValueError as error:
        raise HttpError(400, f"the body is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise HttpError(400, "the body must be a JSON object")
    return value


def build_app(routes: list[BaseRoute], token: str | None, loopback_only: bool) -> Any:
    """The ASGI application with the guard around it and every error in one shape."""

    async def on_http_error(_request: Request, error: HttpError) -> Response:
        return error.response()

    async def on_fault(_request: Request, fault: RuntimeFault) -> Response:
        return http_error(fault).response()

    async def on_starlette(request: Request, error: HTTPException) -> Response:
        message = (
            f"{request.method} {request.url.path} is not a route of this runtime" if error.status_code in (404, 405) else str(error.detail)
        )
        return HttpError(error.status_code, message, headers=error.headers).response()

    async def on_disconnect(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    async def on_other(_request: Request, error: Exception) -> Response:
        return http_error(fault_of(error)).response()

    app = Starlette(
        routes=routes,
        exception_handlers={
            HttpError: on_http_error,
            RuntimeFault: on_fault,
            HTTPException: on_starlette,
            ClientDisconnect: on_disconnect,
            Exception: on_other,
        },
    )
    return Guard(app, token, loopback_only)


def json_response(value: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(value, status)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, help="the runtime's own folder; adapters, jobs and files live below it")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to bind; 0 (default) takes a free one")
    parser.add_argument(
        "--token-env", default="CLARA_RUNTIME_TOKEN", help="environment variable that holds the bearer token (default CLARA_RUNTIME_TOKEN)"
    )
    parser.add_argument("--insecure", action="store_true", help="allow an address other than loopback without a token")
    parser.add_argument("--exit-on-stdin-close", action="store_true", help="end when stdin reaches its end: no orphan when the parent dies")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")


def add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--served-model-name", default="base", help="name of the base model in requests (default base)")
    parser.add_argument("--max-adapters", type=int, default=16, help="adapters in memory at once (default 16)")
    parser.add_argument("--max-lora-rank", type=int, default=64, help="largest rank of an adapter (default 64)")
    parser.add_argument("--max-model-len", type=int, help="tokens of prompt and answer together (default: the model's own)")
    parser.add_argument("--max-batch", type=int, default=16, help="requests that run at once (default 16)")
    parser.add_argument("--max-waiting", type=int, default=256, help="requests that may wait; more are answered 429 (default 256)")
    parser.add_argument("--embedding-model", help="folder of a model for /v1/embeddings (default: the base, mean-pooled)")
    parser.add_argument("--threads", type=int, help="CPU threads of the serving engine (default: PyTorch's choice)")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, so that requests queue from now on, also while the application starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise RuntimeFault("internal", f"cannot bind {host}:{port}: {error.strerror or error}") from error
    sock.listen(1024)
    sock.set_inheritable(False)
    return sock


class Server:
    """One HTTP process: binds, announces, serves until told to end, and ends within two seconds."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        # Taken out of the environment, so that no child process and no dump of it shows the token.
        self.token = os.environ.pop(arguments.token_env, None) or None
        self.loopback = is_loopback(arguments.host)
        if self.token is None and not self.loopback and not arguments.insecure:
            raise RuntimeFault(
                "spec_invalid",
                f"refusing to serve {arguments.host} without a token: set {arguments.token_env}, bind 127.0.0.1, or say --insecure",
            )
        self.socket = bind(arguments.host, arguments.port)
        host, port = self.socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.exit_code = 0
        self._uvicorn: uvicorn.Server | None = None
        self._ending = threading.Event()

    def run(
        self,
        routes: list[BaseRoute],
        startup: Callable[[], Awaitable[None]],
        shutdown: Callable[[], Awaitable[None]],
        last_resort: Callable[[], None],
    ) -> int:
        """Serves until the end. `last_resort` must not block: it runs when an orderly end takes too long."""
        self._last_resort = last_resort
        app = build_app(routes, self.token, self.loopback and self.token is None)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
            server_header=False,
            ws="none",
        )
        self._uvicorn = uvicorn.Server(config)
        say("listening", url=self.url, pid=os.getpid())
        asyncio.run(self._main(startup, shutdown))
        return self.exit_code

    async def _main(self, startup: Callable[[], Awaitable[None]], shutdown: Callable[[], Awaitable[None]]) -> None:
        assert self._uvicorn is not None
        server = self._uvicorn
        loop = asyncio.get_running_loop()
        # uvicorn's own handling would raise the signal again at the end and lose the exit code.
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.end))
        self._watch_parent(loop)
        starting = asyncio.create_task(startup())
        starting.add_done_callback(
            lambda task: None if task.cancelled() or task.exception() is None else self._startup_failed(task.exception())
        )
        await server.serve(sockets=[self.socket])
        self.end()
        starting.cancel()
        await shutdown()

    def _startup_failed(self, error: BaseException) -> None:
        self.fail(fault_of(error))

    def fail(self, fault: RuntimeFault) -> None:
        """Announces the failure and ends with its exit code."""
        say("failed", code=fault.code, message=fault.message)
        log(fault.message)
        self.exit_code = fault.exit_code
        self.end()

    def end(self) -> None:
        """Begins the end; call it on the event loop."""
        if self._ending.is_set():
            return
        self._ending.set()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        threading.Thread(target=self._watchdog, daemon=True).start()

    def _watchdog(self) -> None:
        threading.Event().wait(1.7)
        self._last_resort()
        os._exit(self.exit_code)

    def _watch_parent(self, loop: asyncio.AbstractEventLoop) -> None:
        def gone() -> None:
            loop.call_soon_threadsafe(self.end)

        def watch_stdin() -> None:
            while True:
                try:
                    if not os.read(0, 4096):
                        break
                except OSError:
                    break
            gone()

        def watch_pid() -> None:
            while _is_alive(self._arguments.parent_pid) and not self._ending.wait(0.3):
                continue
            gone()

        if self._arguments.exit_on_stdin_close:
            threading.Thread(target=watch_stdin, daemon=True).start()
        if self._arguments.parent_pid:
            threading.Thread(target=watch_pid, daemon=True).start()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _no_signals:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        return None


def run_main(main: Callable[[], int]) -> None:
    """Runs a process's main function; failures before the server exists are announced in the same way."""
    try:
        code = main()
    except RuntimeFault as fault:
        say("failed", code=fault.code, message=fault.message)
        log(fault.message)
        code = fault.exit_code
    except Exception as error:
        fault = fault_of(error)
        say("failed", code=fault.code, message=fault.message)
        log(f"{fault.message}")
        code = EXIT_CODES["internal"]
    sys.stdout.flush()
    # A library may still hold a thread in native code (imports, CUDA); waiting for it would break the two seconds.
    os._exit(code)
