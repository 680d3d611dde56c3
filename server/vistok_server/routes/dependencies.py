"""What the routes ask FastAPI for: the engine, a tokenizer, a place in the queue."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from vistok.tokenizer import VisualTokenizer
from vistok_protocol import media_types
from vistok_protocol.schemas import Problem
from vistok_server.engine import Engine

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "model": Problem,
        "content": {media_types.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def engine_of(request: Request) -> Engine:
    """Give the engine of the application that serves this request."""
    return request.app.state.engine


TheEngine = Annotated[Engine, Depends(engine_of)]


def tokenizer_of(
    engine: TheEngine, name: Annotated[str, Path(description="A tokenizer's name")]
) -> VisualTokenizer:
    """Give the tokenizer that the path names."""
    return engine.tokenizer(name)


TheTokenizer = Annotated[VisualTokenizer, Depends(tokenizer_of)]


async def admitted(engine: TheEngine) -> AsyncIterator[None]:
    """Hold one place in the queue from before the body is read until the answer has left."""
    with engine.admit():
        yield


def body_of(content: dict[str, Any]) -> dict[str, Any]:
    """Describe in OpenAPI a request body that the route reads by itself."""
    return {"requestBody": {"required": True, "content": content}}


BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
