"""A clip on its way to the service while its grids come back, which httpx cannot do: by aiohttp.

Imported by those who stream alone: aiohttp takes as long to import as all else that the client needs.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Never, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from anyio.from_thread import start_blocking_portal

from vistok_client import _answers
from vistok_client._call import Call
from vistok_client._lines import Lines
from vistok_client._patience import Patience
from vistok_client._retry import Attempts, Outcome
from vistok_client.errors import InvalidInput, warn_of_damage
from vistok_protocol import media_types
from vistok_protocol.tokens import TokenGrid

Result = TypeVar("Result")

# Those that aiohttp sets; what is packed would wait for more to pack, so nothing is.
OWN_HEADERS = ("accept-encoding", "connection", "host", "transfer-encoding")


def stream(answer: AbstractAsyncContextManager["Exchange"]) -> Generator[TokenGrid, None, None]:
    """Do what `stream_async` does, in a thread that ends with the iteration, however that ends."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(answer) as exchange:
        while (grid := portal.call(exchange.next)) is not None:
            yield grid
    warn_of_damage(exchange.warnings)


async def stream_async(answer: AbstractAsyncContextManager["Exchange"]) -> AsyncGenerator[TokenGrid, None]:
    """Give the grids of a clip as they are done, each when it is asked for; errors as of other calls.

    What goes wrong with the source of the clip is raised as it is. Who leaves early ends the call.
    """
    async with answer as exchange:
        while (grid := await exchange.next()) is not None:
            yield grid
    warn_of_damage(exchange.warnings)


@asynccontextmanager
async def answered(
    call: Call[Never], request: httpx.Request, timeout: httpx.Timeout, attempts: Attempts
) -> AsyncIterator["Exchange"]:
    """Send a clip until the service begins to answer, again where that helps; then its grids can be had."""
    while True:
        async with exchanging(call, request, timeout) as exchange:
            outcome = await exchange.begin()
            if outcome is None:
                yield exchange
                return
        wait = attempts.wait_after(outcome)
        if wait is None:
            call.finish(outcome)
        await asyncio.sleep(wait)


@asynccontextmanager
async def exchanging(
    call: Call[Never], request: httpx.Request, timeout: httpx.Timeout
) -> AsyncIterator["Exchange"]:
    """Open what is sent, and where to; when the context is left, both are closed at once."""
    sockets: list[socket.socket] = []

    def new_socket(address: Any) -> socket.socket:
        sockets.append(socket.socket(*address[:3]))
        return sockets[-1]

    async with (
        call.async_content() as pieces,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=new_socket),
            timeout=aiohttp.ClientTimeout(total=None, connect=timeout.connect),
            auto_decompress=False,
        ) as session,
    ):
        exchange = Exchange(call, request, session, Sending(pieces, Patience(timeout.read)))
        try:
            yield exchange
        finally:
            exchange.close()
            # Closing alone would first send what waits to be sent, to a service that may never take it.
            for opened in sockets:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)


class Sending(AsyncIterator[bytes]):
    """The pieces of a clip, for aiohttp, which asks for one when it has sent the one before.

    `failure` is what went wrong with their source.
    """

    def __init__(self, pieces: AsyncIterator[bytes], patience: Patience) -> None:
        self.patience = patience
        self.failure: Exception | None = None
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        self.patience.pause()
        try:
            piece = await anext(self._pieces, None)
            if not isinstance(piece, bytes | bytearray | memoryview | None):
                raise InvalidInput(f"expected pieces of a file as bytes, got {type(piece).__name__}")
        except Exception as error:
            self.failure = error
            self.patience.lose()
            raise
        self.patience.renew()
        if piece is None:
            raise StopAsyncIteration
        return piece


class Exchange:
    """One try: a clip that is sent, and the grids that come back."""

    def __init__(
        self, call: Call[Never], request: httpx.Request, session: aiohttp.ClientSession, sending: Sending
    ) -> None:
        self._call = call
        self._request = request
        self._session = session
        self._sending = sending
        self._lines = Lines()
        self._response: aiohttp.ClientResponse | None = None

    @property
    def warnings(self) -> list[str]:
        """What the service says of damage to the clip; known at the end."""
        return self._lines.warnings

    async def begin(self) -> Outcome | None:
        """Send until the answer begins; None when it comes in lines, else what came in their place."""
        url, headers = self._request.url, self._request.headers.copy()
        for name in OWN_HEADERS:
            headers.pop(name, None)
        sent = self._session.post(
            str(url), headers=headers, data=self._sending, proxy=proxy_for(url), allow_redirects=False
        )
        try:
            response = self._response = await self._wait(sent)
            if response.status == 200 and response.content_type == media_types.NDJSON:
                return None
            content = await self._wait(response.read())
        except httpx.RequestError as error:
            return error
        return httpx.Response(
            response.status, headers=response.headers, content=content, request=self._request
        )

    async def next(self) -> TokenGrid | None:
        """Wait for the next grid; None at the end of the clip."""
        assert self._response is not None
        while (line := self._lines.next()) is None:
            try:
                piece = await self._wait(self._response.content.readany())
            except httpx.RequestError as error:
                self._call.finish(error)
            with _answers.reading(self._request.url, self._call.request_id):
                self._lines.add(piece)
        with _answers.reading(self._request.url, self._call.request_id):
            return self._lines.read(line)

    def close(self) -> None:
        """Stop to send."""
        if self._response is not None:
            self._response.close()

    async def _wait(self, result: Awaitable[Result]) -> Result:
        """Wait while anything moves; httpx.RequestError, or what went wrong with the source of the clip."""
        try:
            return await self._sending.patience.wait(result)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            failure = self._sending.failure or in_words_of_httpx(error)
        raise failure


def in_words_of_httpx(error: Exception) -> httpx.RequestError:
    """Return the error of httpx that tells whether to try again."""
    words = str(error) or type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(words)
        case TimeoutError():
            return httpx.ReadTimeout("nothing moved in either direction")
        case ValueError():
            return httpx.UnsupportedProtocol(words)
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(words)
    return httpx.RemoteProtocolError(words)


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for a URL, as httpx finds it.

    aiohttp's own search would take passwords from ~/.netrc as well, and refuse to send an API key then.
    """
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
