"""What all methods of a client share: its connections, and the tries of a call."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from types import TracebackType
from typing import Never, Self, TypeVar

import httpx
from anyio import to_thread

from vistok_client import _defaults
from vistok_client._call import Call, patience
from vistok_client._calls import service_address
from vistok_client._files import new_file
from vistok_client._retry import RETRIES, Outcome
from vistok_protocol.tokens import TokenGrid

Answer = TypeVar("Answer")

CLOSED = httpx.RequestError("the client has been closed")


class Connection:
    """The connections of a `Client`, which says what the arguments mean."""

    def __init__(
        self,
        url: str = _defaults.URL,
        *,
        tokenizer: str = _defaults.TOKENIZER,
        video_tokenizer: str = _defaults.VIDEO_TOKENIZER,
        timeout: float | httpx.Timeout = _defaults.TIMEOUT,
        retries: int = RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._video_tokenizer = video_tokenizer
        self._retries = retries
        self._patience = patience(timeout, headers)
        self._http = httpx.Client(
            base_url=service_address(url), timeout=timeout, headers=headers, transport=transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Call[Answer]) -> Answer:
        attempts = call.attempts(self._retries)
        while True:
            outcome = self._try(call)
            wait = attempts.wait_after(outcome)
            if wait is None:
                return call.finish(outcome)
            time.sleep(wait)

    def _try(self, call: Call[Answer]) -> Outcome:
        if self._http.is_closed:
            return CLOSED
        arguments = call.arguments(self._patience)
        try:
            with call.content() as content, self._http.stream(**arguments, content=content) as response:
                self._receive(call, response)
                return response
        except httpx.RequestError as error:
            return error

    def _receive(self, call: Call[Answer], response: httpx.Response) -> None:
        path = call.file_for(response)
        if path is None:
            response.read()
            return
        with new_file(path) as file:
            for piece in response.iter_bytes():
                file.write(piece)

    def _stream(self, call: Call[Never]) -> Generator[TokenGrid, None, None]:
        from vistok_client._streaming import answered, stream

        if self._http.is_closed:
            call.finish(CLOSED)
        request = self._http.build_request(**call.arguments({}), content=iter(()))
        return stream(answered(call, request, self._http.timeout, call.attempts(self._retries)))


class AsyncConnection:
    """The connections of an `AsyncClient`, which says what the arguments mean."""

    def __init__(
        self,
        url: str = _defaults.URL,
        *,
        tokenizer: str = _defaults.TOKENIZER,
        video_tokenizer: str = _defaults.VIDEO_TOKENIZER,
        timeout: float | httpx.Timeout = _defaults.TIMEOUT,
        retries: int = RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._video_tokenizer = video_tokenizer
        self._retries = retries
        self._patience = patience(timeout, headers)
        self._http = httpx.AsyncClient(
            base_url=service_address(url), timeout=timeout, headers=headers, transport=transport
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, call: Call[Answer]) -> Answer:
        attempts = call.attempts(self._retries)
        while True:
            outcome = await self._try(call)
            wait = attempts.wait_after(outcome)
            if wait is None:
                return call.finish(outcome)
            await asyncio.sleep(wait)

    async def _try(self, call: Call[Answer]) -> Outcome:
        if self._http.is_closed:
            return CLOSED
        arguments = call.arguments(self._patience)
        try:
            async with (
                call.async_content() as content,
                self._http.stream(**arguments, content=content) as response,
            ):
                await self._receive(call, response)
                return response
        except httpx.RequestError as error:
            return error

    async def _receive(self, call: Call[Answer], response: httpx.Response) -> None:
        path = call.file_for(response)
        if path is None:
            await response.aread()
            return
        with new_file(path) as file:
            async for piece in response.aiter_bytes():
                await to_thread.run_sync(file.write, piece)

    def _stream(self, call: Call[Never]) -> AsyncGenerator[TokenGrid, None]:
        from vistok_client._streaming import answered, stream_async

        if self._http.is_closed:
            call.finish(CLOSED)
        request = self._http.build_request(**call.arguments({}), content=iter(()))
        return stream_async(answered(call, request, self._http.timeout, call.attempts(self._retries)))
