"""AsyncClient does what Client does, many calls at once."""

import asyncio
import inspect

import httpx
import numpy as np
import pytest

from tests.client.service import INFO, Service, parts_of, problem
from vistok_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    InvalidInput,
    NotFound,
    Overloaded,
    PixelSize,
    TokenGrid,
)
from vistok_protocol.errors import ErrorCode


def connect(service: Service, retries: int = 5) -> AsyncClient:
    return AsyncClient("http://test", tokenizer="grey", transport=service.transport, retries=retries)


async def test_every_call(picture: np.ndarray) -> None:
    async with connect(Service()) as client:
        grid = await client.encode(picture)
        assert grid.pixels == PixelSize(20, 13)
        np.testing.assert_array_equal(np.asarray(await client.decode(grid)), picture)
        np.testing.assert_array_equal(await client.decode(grid.to_bytes(), output="numpy"), picture)
        np.testing.assert_array_equal(np.asarray((await client.reconstruct(picture)).image), picture)
        features = np.ones((1, 1, 2, 3), dtype=np.float32)
        np.testing.assert_array_equal(await client.lookup(await client.quantize(features)), features)
        assert await client.tokenizers() == [INFO]
        assert await client.tokenizer() == INFO
        assert client.reconstruction_url(grid).endswith(grid.to_base64url())


async def test_many_calls_at_once(picture: np.ndarray) -> None:
    async with connect(Service()) as client:
        grids = await asyncio.gather(*(client.encode(picture - shade) for shade in range(20)))
    assert [grid.ids[0, 0] for grid in grids] == [77 - shade for shade in range(20)]


async def test_a_list_with_bad_pictures(picture: np.ndarray) -> None:
    async with connect(Service()) as client:
        good, missing = await client.encode([picture, "absent.png"])
        assert await client.encode([]) == []
    assert isinstance(good, TokenGrid)
    assert isinstance(missing, InvalidInput)


async def test_a_list_of_any_length(picture: np.ndarray) -> None:
    service = Service()
    async with connect(service) as client:
        grids = await client.encode([picture - shade for shade in range(70)])
    assert [len(parts_of(request)) for request in service.requests] == [64, 6]
    assert [grid.ids[0, 0] for grid in grids if isinstance(grid, TokenGrid)] == list(range(77, 7, -1))


async def test_what_cannot_be_asked(picture: np.ndarray) -> None:
    service = Service()
    async with connect(service) as client:
        with pytest.raises(InvalidInput):
            await client.encode(picture, size=(0, 8))
        with pytest.raises(InvalidInput):
            await client.decode([[1]], output="torch")
    with pytest.raises(ConnectionFailed, match="closed"):
        await client.tokenizers()
    assert service.requests == []


async def test_trying_again_ends(waits: list[float]) -> None:
    service = Service(problem(ErrorCode.OVERLOADED), httpx.ConnectError("refused"))
    async with connect(service) as client:
        assert await client.tokenizers() == [INFO]
        service.script = [problem(ErrorCode.OVERLOADED) for _ in range(100)]
        with pytest.raises(Overloaded):
            await client.tokenizers()
        service.script = [httpx.ConnectError("refused") for _ in range(100)]
        with pytest.raises(ConnectionFailed):
            await client.tokenizers()
        service.script = []
        with pytest.raises(NotFound) as caught:
            await client.tokenizer("absent")
    assert caught.value.request_id
    assert len(waits) == 2 + 5 + 5


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    def methods(client: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(function).parameters.values()
            ]
            for name, function in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
