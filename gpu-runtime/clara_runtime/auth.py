"""Who may call: a bearer token for everything but `/health`; without one, this machine's own programs and no web page.

A page in the user's browser can reach 127.0.0.1: by a name that it re-points there (DNS rebinding), or by a plain cross-site
request. So without a token the Host header must be a loopback name, and an Origin header, where there is one, too.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any
from urllib.parse import urlsplit

from .http_errors import HttpError

OPEN_PATHS = {"/health"}


def is_loopback(host: str) -> bool:
    """True for `localhost` and loopback addresses, without a port and without brackets."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str:
    """The host of a `host[:port]` as it stands in a Host header; empty when there is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """ASGI middleware. `token` None = no token needed; `loopback_only` turns the check of Host and Origin on."""

    def __init__(self, app: Any, token: str | None, loopback_only: bool):
        self._app = app
        self._token = token.encode() if token else None
        self._loopback_only = loopback_only

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Any) -> HttpError | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._token is not None:
            if scope["path"] in OPEN_PATHS or self._has_token(headers.get(b"authorization", b"")):
                return None
            return HttpError(
                401, "a valid bearer token is needed: send the header Authorization: Bearer TOKEN", headers={"www-authenticate": "Bearer"}
            )
        if not self._loopback_only:
            return None
        if not is_loopback(host_of(headers.get(b"host", b"").decode("latin-1"))):
            return HttpError(403, "without a token only requests to a loopback host name are answered (Host header)")
        origin = headers.get(b"origin")
        if origin is not None and not is_loopback(urlsplit(origin.decode("latin-1")).hostname or ""):
            return HttpError(403, "without a token no request from a web page of another host is answered (Origin header)")
        return None

    def _has_token(self, header: bytes) -> bool:
        scheme, _, value = header.partition(b" ")
        # Compared in constant time, and compared even where the scheme is wrong.
        return hmac.compare_digest(value.strip(), self._token or b"") and scheme.lower() == b"bearer"
