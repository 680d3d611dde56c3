"""What surrounds every call: its request id, its deadline, a caller who leaves, and the last safety net."""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Any

from opentelemetry.trace import Tracer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.patience import Patience
from vistok_server.problems import problem_response
from vistok_server.tracing import Trace

logger = logging.getLogger(__name__)

# An answer is never taken for something else than it says, such as a script.
_SECURITY = {"X-Content-Type-Options": "nosniff"}
_WITHOUT_BODY = ("GET", "HEAD")
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Envelope:
    """Puts a request id on every call and answer, counts it, and turns what nobody caught into an answer."""

    def __init__(self, app: ASGIApp, tracer: Tracer | None) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        trace = state["trace"] = Trace.of(self._tracer, scope, request_id)
        answer = _Answer(send, {media_types.REQUEST_ID: request_id, **_SECURITY})
        metrics = scope["app"].state.engine.metrics
        start = time.monotonic()
        try:
            with ExitStack() as until_answered:
                state["until_answered"] = until_answered
                await self._app(scope, receive, answer.send)
        except Exception as error:
            if not isinstance(error, VistokError):
                logger.exception("request %s failed", request_id)
                error = VistokError(
                    ErrorCode.INTERNAL, "an unexpected fault of the service; please report the request id"
                )
            metrics.refusals.labels(error.code.value).inc()
            if not answer.started:
                await problem_response(error, request_id)(scope, receive, answer.send)
        finally:
            # By the pattern of the path: paths themselves are without number.
            route = getattr(scope.get("route"), "path", "none")
            metrics.requests.labels(route, answer.status or "none").inc()
            metrics.request_seconds.labels(route).observe(time.monotonic() - start)
            if trace is not None:
                trace.end(scope["method"], route, answer.status)


class Attendance:
    """Ends the work on a call when its caller leaves, or when its time is over.

    The time is the service's, or a shorter one that the caller sets. The work is cancelled wherever it
    waits; what it has put in a queue is taken out.
    """

    def __init__(self, app: ASGIApp, timeout_seconds: float) -> None:
        self._app = app
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; raises VistokError(TIMED_OUT) when the time is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = _seconds_wanted(Headers(scope=scope))
        seconds = min(self._timeout_seconds, wanted)
        scope["state"]["deadline"] = time.monotonic() + seconds
        answer = _Answer(send, {})
        caller = _Caller(receive, answer)
        if scope["method"] in _WITHOUT_BODY:
            caller.watch()
        try:
            async with asyncio.timeout(seconds) as time_left:
                scope["state"]["patience"] = Patience(time_left, seconds, math.isinf(wanted))
                await self._app(scope, caller.receive, answer.send)
        except asyncio.CancelledError:
            if not caller.has_left:
                raise
        except TimeoutError:
            if not time_left.expired():
                raise
            detail = f"the call took longer than {seconds:g} seconds"
            raise VistokError(ErrorCode.TIMED_OUT, detail) from None
        finally:
            caller.forget()


class _Caller:
    """Hears what a caller sends, and from then on whether the caller leaves before the answer is complete."""

    def __init__(self, receive: Receive, answer: "_Answer") -> None:
        self._receive = receive
        self._answer = answer
        self._work = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self.has_left = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
        elif not message.get("more_body", False):
            self.watch()
        return message

    def watch(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._wait_for_leaving())

    def forget(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _wait_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        # A connection also ends when the answer is complete; then the work may tidy up.
        if self._answer.complete or self._work is None:
            return
        self.has_left = True
        if asyncio.current_task() is not self._work:
            self._work.cancel()
        raise asyncio.CancelledError


def _seconds_wanted(headers: Headers) -> float:
    """Give the time after which the caller does not wait any more; INVALID_REQUEST for what is no time."""
    wanted = headers.get(media_types.TIMEOUT)
    if wanted is None:
        return math.inf
    # The length bound keeps the number small; `isdecimal` alone takes digits of other scripts.
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 12 and int(wanted)):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"{media_types.TIMEOUT}: expected whole milliseconds above 0, got {wanted[:40]!r}",
        )
    return int(wanted) / 1000


class _Answer:
    """Watches the answer go out, and adds headers to it."""

    def __init__(self, send: Send, headers: MutableMapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.status: int | None = None
        self.complete = False

    @property
    def started(self) -> bool:
        return self.status is not None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).update(self._headers)
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        await self._send(message)


def _request_id(headers: Headers) -> str:
    """Take the caller's id when it is one that logs can hold, else make one."""
    given = headers.get(media_types.REQUEST_ID, "")
    return given if SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
