"""Failures as answers: every error leaves the service as one `application/problem+json` body."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import Problem

# Loading and stopping take seconds; how long an overload lasts is the engine's to say.
RETRY_AFTER_SECONDS = {ErrorCode.NOT_READY: 1, ErrorCode.OVERLOADED: 1}

CODES_OF_STATUS = {
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: ErrorCode.RANGE_NOT_SATISFIABLE,
}


def problem_response(
    error: VistokError, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with an error; those that will pass say when to come back."""
    body = orjson.dumps(Problem.from_error(error, request_id).body())
    response = Response(body, error.code.status, headers, media_types.PROBLEM)
    if error.code in RETRY_AFTER_SECONDS:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS[error.code]))
    return response


def request_id_of(request: Request) -> str:
    """Give the id that the middleware has put on this request."""
    return request.state.request_id


async def on_vistok_error(request: Request, error: Exception) -> Response:
    """Answer a failure of ours."""
    assert isinstance(error, VistokError)
    return _answer(request, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    code = CODES_OF_STATUS.get(HTTPStatus(error.status_code), ErrorCode.INVALID_REQUEST)
    match code:
        case ErrorCode.NOT_FOUND:
            detail = f"there is nothing at {request.url.path[:200]!r}; /docs lists the calls"
        case ErrorCode.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not possible at {request.url.path[:200]!r}"
        case _:
            detail = str(error.detail)
    return _answer(request, VistokError(code, detail), error.headers)


def _answer(request: Request, error: VistokError, headers: Mapping[str, str] | None = None) -> Response:
    engine = request.app.state.engine
    engine.metrics.refusals.labels(error.code.value).inc()
    if error.code is ErrorCode.OVERLOADED:
        headers = {**(headers or {}), "Retry-After": str(engine.retry_after_seconds)}
    if error.code is ErrorCode.UNAUTHORIZED:
        headers = {**(headers or {}), "WWW-Authenticate": "Bearer"}
    return problem_response(error, request_id_of(request), headers)
