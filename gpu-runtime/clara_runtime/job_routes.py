"""The jobs API: post, list, get, cancel, follow (server-sent events that can be resumed), restart, remove."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .app import json_body, json_response
from .http_errors import HttpError
from .jobs import JobManager
from .protocol import parse_spec

SPEC_LIMIT_BYTES = 4 * 1024 * 1024


def job_routes(jobs: JobManager) -> list[Route]:
    async def post(request: Request) -> Response:
        spec = parse_spec(await json_body(request, SPEC_LIMIT_BYTES))
        record, is_new = jobs.submit(spec, restart=request.query_params.get("restart") == "true")
        return json_response(record.public(), 201 if is_new else 200)

    async def list_jobs(request: Request) -> Response:
        status = request.query_params.get("status")
        records = [record.public() for record in jobs.list() if status is None or record.status == status]
        return json_response({"jobs": records})

    async def get(request: Request) -> Response:
        return json_response(jobs.get(request.path_params["job_id"]).public())

    async def cancel(request: Request) -> Response:
        return json_response((await jobs.cancel(request.path_params["job_id"])).public())

    async def remove(request: Request) -> Response:
        jobs.remove(request.path_params["job_id"])
        return Response(status_code=204)

    async def events(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        jobs.get(job_id)
        after = _position(request)

        async def lines() -> AsyncIterator[bytes]:
            # Opens the stream at once, also for a job that has not said anything yet.
            yield b": events of the job\n\n"
            async for line in jobs.events(job_id, after):
                if line is None:
                    yield b": still there\n\n"
                else:
                    yield b"id: " + line[len(b'{"seq":') : line.index(b",")] + b"\ndata: " + line + b"\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-cache", "x-accel-buffering": "no"})

    return [
        Route("/v1/jobs", post, methods=["POST"]),
        Route("/v1/jobs", list_jobs, methods=["GET"]),
        Route("/v1/jobs/{job_id}", get, methods=["GET"]),
        Route("/v1/jobs/{job_id}", remove, methods=["DELETE"]),
        Route("/v1/jobs/{job_id}/cancel", cancel, methods=["POST"]),
        Route("/v1/jobs/{job_id}/events", events, methods=["GET"]),
    ]


def _position(request: Request) -> int:
    """The last event that the reader has: `?after=`, or the header that EventSource sends when it connects again."""
    value = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
    if not value.isascii() or not value.isdigit() or len(value) > 15:
        raise HttpError(400, "after (or Last-Event-ID) must be the number of an event", param="after")
    return int(value)
