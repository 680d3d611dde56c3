"""Pictures, clients of a service that is not there, and services that are, for what is streamed."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.client.line_service import Answer, LineService
from tests.client.service import Service
from vistok_client import AsyncClient, Client, TokenGrid

Serve = Callable[..., LineService]
Collect = Callable[..., list[TokenGrid]]


@pytest.fixture
def picture() -> np.ndarray:
    """Give a picture of 20 x 13 pixels in one grey."""
    return np.full((20, 13, 3), 77, dtype=np.uint8)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Give a function that connects to a service, and close what it opened."""
    clients: list[Client] = []

    def open_client(service: Service, **options: object) -> Client:
        names = {"tokenizer": "grey", "video_tokenizer": "grey"}
        clients.append(Client("http://test", **names, transport=service.transport, **options))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the list of the times that clients wait between tries, which pass at once."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(asyncio, "sleep", wait)
    return waited


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give a function that starts a service, and see that no thread of a client is left."""
    services: list[LineService] = []

    def start(*script: Answer) -> LineService:
        services.append(LineService(*script))
        threading.Thread(target=services[-1].serve_forever, args=(0.01,), daemon=True).start()
        return services[-1]

    yield start
    for service in services:
        service.shutdown()
        service.server_close()
    assert not [thread for thread in threading.enumerate() if "portal" in thread.name]


@pytest.fixture(params=["sync", "async"])
def collect(request: pytest.FixtureRequest) -> Collect:
    """Give a function that streams a clip with either client, and returns all grids."""

    async def collect_async(service: LineService, clip: Any, **options: Any) -> list[TokenGrid]:
        async with AsyncClient(service.url, video_tokenizer="grey", **options) as client:
            return [grid async for grid in client.stream_video(clip)]

    def collect(service: LineService, clip: Any, **options: Any) -> list[TokenGrid]:
        if request.param == "async":
            return asyncio.run(collect_async(service, clip, **options))
        with Client(service.url, video_tokenizer="grey", **options) as client:
            return list(client.stream_video(clip))

    return collect
