"""Errors as they leave the runtime over HTTP: OpenAI's shape, plus the runtime's own code.

{"error": {"message": …, "type": "NotFoundError", "param": null, "code": 404, "clara_code": "adapter_invalid", "retryable": false}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from .errors import RuntimeFault

TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    409: "ConflictError",
    413: "PayloadTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
    507: "InsufficientStorageError",
}
STATUS_OF_CODE = {
    "spec_invalid": 400,
    "data_invalid": 400,
    "base_model_invalid": 400,
    "adapter_invalid": 400,
    "path_outside_root": 400,
    "out_of_memory": 503,
    "disk_full": 507,
    "cancelled": 409,
    "internal": 500,
}


class HttpError(Exception):
    """An answer other than success; raise it anywhere inside a route."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        error_type: str | None = None,
        clara_code: str | None = None,
        retryable: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.error: dict[str, Any] = {
            "message": message,
            "type": error_type or TYPES.get(status, "APIError"),
            "param": param,
            "code": status,
        }
        if clara_code is not None:
            self.error["clara_code"] = clara_code
        if retryable is not None:
            self.error["retryable"] = retryable

    def response(self) -> JSONResponse:
        return JSONResponse({"error": self.error}, self.status, headers=self.headers)


def http_error(fault: RuntimeFault) -> HttpError:
    """The HTTP answer to a fault of the runtime."""
    headers = {"retry-after": "5"} if fault.code == "out_of_memory" else None
    return HttpError(STATUS_OF_CODE[fault.code], fault.message, clara_code=fault.code, retryable=fault.retryable, headers=headers)
