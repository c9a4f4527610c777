"""Who is answered: the token, and without one only this machine's own programs."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from clara_runtime.app import build_app

ROUTES = [Route(path, lambda _request: PlainTextResponse("inside")) for path in ("/health", "/v1/models", "/metrics")]


def ask(path: str, headers: dict | list, token: str | None = None, loopback_only: bool = False) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(ROUTES, token, loopback_only))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(call())


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/unknown", "/health/", "//health"])
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer secre",
        "Bearer secrett",
        "Basic secret",
        "secret",
        "Bearer SECRET",
        "bearer",
        "Bearer secret,x",
    ],
)
def test_everything_but_health_needs_the_token(path, header):
    answer = ask(path, {} if header is None else {"authorization": header}, token="secret")
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "AuthenticationError"
    assert "secret" not in answer.text


def test_the_token_opens_and_health_is_open():
    assert ask("/v1/models", {"authorization": "Bearer secret"}, token="secret").text == "inside"
    assert ask("/v1/models", {"authorization": "bearer secret"}, token="secret").text == "inside"
    assert ask("/health", {}, token="secret").text == "inside"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.8.9.1", "[::1]:80", "LOCALHOST:1"])
def test_without_a_token_a_loopback_host_is_answered(host):
    assert ask("/v1/models", {"host": host}, loopback_only=True).text == "inside"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "",
        "[::2]",
        "2130706433",
        "[bad",
    ],
)
def test_A18_a_name_that_was_pointed_at_this_machine_is_refused(host):
    for path in ("/v1/models", "/health"):
        assert ask(path, {"host": host}, loopback_only=True).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200), ("http://127.0.0.1", 200)]
)
def test_without_a_token_only_pages_of_this_machine_are_answered(origin, status):
    assert ask("/v1/models", {"origin": origin}, loopback_only=True).status_code == status
