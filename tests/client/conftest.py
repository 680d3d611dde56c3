"""Pictures, and clients of a service that is not there."""

import asyncio
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.client.service import Service
from vistok_client import Client


@pytest.fixture
def picture() -> np.ndarray:
    """Give a picture of 20 x 13 pixels in one grey."""
    return np.full((20, 13, 3), 77, dtype=np.uint8)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Give a function that connects to a service, and close what it opened."""
    clients: list[Client] = []

    def open_client(service: Service, **options: object) -> Client:
        clients.append(Client("http://test", tokenizer="grey", transport=service.transport, **options))
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
