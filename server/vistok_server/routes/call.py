"""One call that was let in: what it asks for, and the place that it holds until its answer has left.

The calls that tokenize read their requests by this instead of by FastAPI's dependencies, which would cost
each of them more than everything else that the serving process does for it.
"""

import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, aclosing
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
class Entry:
    """A request that was let in.

    Attributes:
        engine: of the application.
        sender: who asks.
        count: counts bytes that are held for this request; OVERLOADED when they are too many.
    """

    request: Request
    engine: Engine
    sender: Sender
    count: Count
    _patience: Patience

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
            return await read_part(self.request, self.engine.settings.max_body_bytes, self.count)

    async def stream(self, max_bytes: int) -> AsyncGenerator[bytes]:
        """Read a raw body piece by piece, keeping nothing of it; TOO_LARGE, and NOT_READY as for `body`."""
        async with self.engine.uploading():
            async for piece in limited_stream(self.request, max_bytes, lambda _: None):
                yield piece

    def renew_time(self) -> None:
        """Let the service's time begin anew, where the caller has set none."""
        self._patience.renew()

    async def lasting(self, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
        """Hand pieces on; the time begins anew with each."""
        async with aclosing(pieces):
            async for piece in pieces:
                self.renew_time()
                yield piece

    def hold(self, context: AbstractContextManager[None]) -> None:
        """Stay in a context until the answer has left."""
        self.request.state.until_answered.enter_context(context)

    async def files(self) -> list[Part]:
        """Read the files of a multipart body; the errors of `body` and of `read_parts`."""
        settings = self.engine.settings
        async with self.engine.uploading():
            return await read_parts(
                self.request, settings.max_multipart_bytes, settings.max_files, self.count
            )

    def call(self, tokenizer: str) -> "Call":
        """Give the call that this is, of a tokenizer by its name; TOKENIZER_NOT_FOUND, NOT_READY."""
        work = Tokenizing(self.engine, self.sender, self.engine.tokenizer(tokenizer))
        return Call(self.request, self.engine, self.sender, self.count, self._patience, work)


@dataclass(frozen=True)
class Call(Entry):
    """A request that was let in, and the work that it is about."""

    work: Tokenizing

    @property
    def tokenizer(self) -> TokenizerInfo:
        """The tokenizer that it is about."""
        return self.work.tokenizer

    def lasting_work(self) -> Tokenizing:
        """Give orders without a deadline of their own: for `lasting`."""
        return self._endless(self.sender) if self._patience.is_renewed else self.work

    def shared_work(self) -> Tokenizing:
        """Give orders that may go on when this call is over, for others: without its deadline and trace."""
        return self._endless(replace(self.sender, trace=None))

    def _endless(self, sender: Sender) -> Tokenizing:
        return replace(self.work, sender=replace(sender, deadline=math.inf))


def entered(request: Request) -> Call:
    """Let a call in whose path names its tokenizer; the errors of `let_in`, and TOKENIZER_NOT_FOUND."""
    return let_in(request).call(request.path_params["name"])


def let_in(request: Request) -> Entry:
    """Let a call in, before its body is read; the place it takes is given back when its answer has left.

    Raises UNAUTHORIZED, OVERLOADED, NOT_READY, INVALID_REQUEST.
    """
    engine: Engine = request.app.state.engine
    state = request.state
    sender = Sender(identify(request, engine), _is_bulk(request), state.trace, state.deadline)
    until_answered: ExitStack = state.until_answered
    until_answered.enter_context(engine.admit(sender))
    count = until_answered.enter_context(engine.bodies.holding())
    return Entry(request, engine, sender, count, state.patience)


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
