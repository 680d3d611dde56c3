"""What the routes ask FastAPI for: the engine, a tokenizer, a place in the queue.

All of them are coroutines, though some wait for nothing: plain functions FastAPI runs on threads.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import Problem, TokenizerInfo
from vistok_server.bodies import Part, read_part
from vistok_server.engine import Engine
from vistok_server.jobs import Sender

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "model": Problem,
        "content": {media_types.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


async def engine_of(request: Request) -> Engine:
    """Give the engine of the application that serves this request."""
    return request.app.state.engine


TheEngine = Annotated[Engine, Depends(engine_of)]


async def tokenizer_of(
    engine: TheEngine, name: Annotated[str, Path(description="A tokenizer's name")]
) -> TokenizerInfo:
    """Give the tokenizer that the path names."""
    return engine.tokenizer(name)


TheTokenizer = Annotated[TokenizerInfo, Depends(tokenizer_of)]


BEARER = HTTPBearer(auto_error=False, description="An API key, where the service asks for one.")


async def identified(
    request: Request,
    engine: TheEngine,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
) -> str:
    """Give who calls, by the name of the key or else by address; UNAUTHORIZED, or OVERLOADED if too often."""
    name = engine.keys.name_of(credentials.credentials if credentials else None)
    host = request.client.host if request.client else ""
    identity = host if name is None else f"key {name}"
    engine.rates.take(identity)
    return identity


async def sender_of(
    identity: Annotated[str, Depends(identified)],
    x_priority: Annotated[Literal["normal", "bulk"], Header()] = "normal",
) -> Sender:
    """Give who asks, and how urgently."""
    return Sender(identity, is_bulk=x_priority == "bulk")


TheSender = Annotated[Sender, Depends(sender_of)]


async def admitted(engine: TheEngine, sender: TheSender) -> AsyncIterator[None]:
    """Hold one place in the queue from before the body is read until the answer has left."""
    with engine.admit(sender):
        yield


async def without_query(request: Request) -> None:
    """Refuse whatever stands in the query of a call that has no parameters."""
    for name in request.query_params:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"query parameter {name[:80]!r}: not one of this call")


async def received(request: Request, engine: Engine) -> Part:
    """Read a raw body; EMPTY_BODY, TOO_LARGE, and NOT_READY when the service stops before it came whole."""
    async with engine.uploading():
        return await read_part(request, engine.settings.max_body_bytes)


def body_of(content: dict[str, Any]) -> dict[str, Any]:
    """Describe in OpenAPI a request body that the route reads by itself."""
    return {"requestBody": {"required": True, "content": content}}


BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
