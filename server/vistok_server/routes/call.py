"""One call that was let in: what it asks for, and the place that it holds until its answer has left.

The calls that tokenize read their requests by this instead of by FastAPI's dependencies, which would cost
each of them more than everything else that the serving process does for it.
"""

import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.bodies import Count, limited_stream, read_part, read_parts
from vistok_server.engine import Engine
from vistok_server.jobs import Sender
from vistok_server.negotiation import choose
from vistok_server.parts import Part
from vistok_server.patience import Patience
from vistok_server.problems import request_id_of
from vistok_server.tokenizing import Tokenizing

Query = TypeVar("Query", bound=BaseModel)
Piece = TypeVar("Piece")
_PRIORITIES = ("normal", "bulk")


class CallRoute(APIRoute):
    """A route whose function takes a request and gives a response; FastAPI documents it, and does no more."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the function itself."""
        return self.endpoint


@dataclass(frozen=True)
class Call:
    """A request, and what was found out about it."""

    request: Request
    work: Tokenizing
    _count: Count
    _patience: Patience

    @property
    def engine(self) -> Engine:
        """The engine of the application."""
        return self.work.engine

    @property
    def tokenizer(self) -> TokenizerInfo:
        """The tokenizer that the path names."""
        return self.work.tokenizer

    @property
    def request_id(self) -> str:
        """The id that stands on the request and its answer."""
        return request_id_of(self.request)

    def query(self, model: type[Query]) -> Query:
        """Read the query; INVALID_REQUEST names what is wrong with it."""
        return read_query(self.request, model)

    def answer_type(self, *offered: str) -> str:
        """Give the media type that the caller likes best; NOT_ACCEPTABLE when none is wanted."""
        return choose(self.request.headers.get("accept"), offered)

    async def body(self) -> Part:
        """Read a raw body.

        Raises EMPTY_BODY, TOO_LARGE, OVERLOADED (bytes), and NOT_READY when the service stops before it
        came whole.
        """
        async with self.engine.uploading():
            return await read_part(self.request, self.engine.settings.max_body_bytes, self._count)

    async def stream(self, max_bytes: int) -> AsyncGenerator[bytes]:
        """Read a raw body piece by piece, keeping nothing of it; TOO_LARGE, and NOT_READY as for `body`."""
        async with self.engine.uploading():
            async for piece in limited_stream(self.request, max_bytes, lambda _: None):
                yield piece

    def lasting_work(self) -> Tokenizing:
        """Give orders without a deadline of their own: for `lasting`."""
        if not self._patience.is_renewed:
            return self.work
        return replace(self.work, sender=replace(self.work.sender, deadline=math.inf))

    async def lasting(self, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
        """Hand pieces on; where the caller has set no time, the service's begins anew with each."""
        async with aclosing(pieces):
            async for piece in pieces:
                self._patience.renew()
                yield piece

    async def files(self) -> list[Part]:
        """Read the files of a multipart body; the errors of `body` and of `read_parts`."""
        settings = self.engine.settings
        async with self.engine.uploading():
            return await read_parts(
                self.request, settings.max_multipart_bytes, settings.max_files, self._count
            )


def entered(request: Request) -> Call:
    """Let a call in, before its body is read; the place it takes is given back when its answer has left.

    Raises UNAUTHORIZED, OVERLOADED, NOT_READY, TOKENIZER_NOT_FOUND, INVALID_REQUEST.
    """
    engine: Engine = request.app.state.engine
    state = request.state
    sender = Sender(identify(request, engine), _is_bulk(request), state.trace, state.deadline)
    until_answered: ExitStack = state.until_answered
    until_answered.enter_context(engine.admit(sender))
    count = until_answered.enter_context(engine.bodies.holding())
    work = Tokenizing(engine, sender, engine.tokenizer(request.path_params["name"]))
    return Call(request, work, count, state.patience)


def read_query(request: Request, model: type[Query]) -> Query:
    """Read the query of a request; INVALID_REQUEST names what is wrong with it."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        came = "" if first["type"] == "missing" else f", got {str(first['input'])[:100]!r}"
        detail = f"query parameter {str(first['loc'][0])[:80]!r}: {first['msg']}{came}"
        raise VistokError(ErrorCode.INVALID_REQUEST, detail) from None


def identify(request: Request, engine: Engine) -> str:
    """Give who calls, by the name of the key or else by address; UNAUTHORIZED, or OVERLOADED if too often."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    name = engine.keys.name_of(key if scheme.lower() == "bearer" else None)
    host = request.client.host if request.client else ""
    identity = host if name is None else f"key {name}"
    engine.rates.take(identity)
    return identity


def _is_bulk(request: Request) -> bool:
    priority = request.headers.get(media_types.PRIORITY, "normal")
    if priority not in _PRIORITIES:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"header {media_types.PRIORITY.lower()!r}: expected {' or '.join(_PRIORITIES)}, "
            f"got {priority[:40]!r}",
        )
    return priority == "bulk"
