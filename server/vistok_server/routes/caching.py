"""Answers that never change: what caches and browsers are told of them."""

from starlette.requests import Request
from starlette.responses import Response

_IMMUTABLE = "public, max-age=31536000, immutable"


def immutable(identity: str) -> dict[str, str]:
    """Give the headers of an answer that has this identity for ever."""
    return {"ETag": f'"{identity}"', "Cache-Control": _IMMUTABLE}


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """Give the answer to a caller who has it already, by the `ETag` among the headers of `immutable`."""
    candidates = request.headers.get("if-none-match", "").split(",")
    if {candidate.strip().removeprefix("W/") for candidate in candidates} & {"*", headers["ETag"]}:
        return Response(status_code=304, headers=headers)
    return None
