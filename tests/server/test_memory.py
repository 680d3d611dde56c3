"""What the house holds in memory: pictures are counted in pixels, and who leaves leaves nothing behind."""

import asyncio
import threading
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from tests.server.conftest import Serve, encoded, engine_of, picture, until_waiting
from tests.server.fakes import BrightnessTokenizer
from vistok.media.image import read_image
from vistok_protocol.npy import write_npy
from vistok_server.jobs import Job, Operation, Sender
from vistok_server.pixel_budget import PixelBudget
from vistok_server.waiting_room import WaitingRoom

BASE = "/v1/tokenizers/fake"
PNG = {"Content-Type": "image/png"}


class Decoder:
    """Stands in for `read_image`: counts what was decoded, and can be held up."""

    def __init__(self) -> None:
        self.decoded = 0
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def __call__(self, data: bytes, limits: object) -> np.ndarray:
        self.entered.release()
        assert self.open.wait(30)
        self.decoded += 1
        return read_image(data, limits)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    decoder = Decoder()
    monkeypatch.setattr("vistok_server.pictures.read_image", decoder)
    return decoder


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def settle() -> None:
    """Give everything that could go on the time to do so."""
    await asyncio.sleep(0.1)


def encoding(client: httpx.AsyncClient, pixels: np.ndarray, query: str = "") -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.post(f"{BASE}/encode{query}", content=encoded(pixels), headers=PNG))


async def test_a_job_that_is_withdrawn_leaves_the_room() -> None:
    room = WaitingRoom(max_batch_pixels=100)
    first, second = (
        Job(Sender("test"), "fake", Operation.DECODE, np.zeros((1, 1, 1), np.int64), 16, asyncio.Future())
        for _ in range(2)
    )
    room.put(first)
    room.put(second)
    room.withdraw(first)
    room.withdraw(first)
    assert len(room) == 1
    assert await room.take() == [second]


async def test_callers_who_leave_leave_nothing_behind(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    held = encoding(client, picture())
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    for _ in range(3):
        leaving = [encoding(client, picture(4, 4)) for _ in range(8)]
        await until_waiting(client, 8)
        for call in leaving:
            call.cancel()
        await until_waiting(client, 0)
    await until(lambda: engine_of(client).in_house == 1)
    tokenizer.open.set()
    assert (await held).status_code == 200
    assert tokenizer.batches == [("encode", (1, 3, 8, 8))]


async def test_a_place_is_kept_while_a_thread_works_for_a_caller_who_has_left(
    client: httpx.AsyncClient, decoder: Decoder
) -> None:
    decoder.open.clear()
    leaving = encoding(client, picture())
    assert await asyncio.to_thread(decoder.entered.acquire, timeout=30)
    leaving.cancel()
    await settle()
    assert engine_of(client).in_house == 1
    decoder.open.set()
    await until(lambda: engine_of(client).in_house == 0)


async def test_files_of_one_call_are_decoded_only_as_there_is_room(
    serve: Serve, tokenizer: BrightnessTokenizer, decoder: Decoder
) -> None:
    client = await serve(max_waiting_pixels=3 * 64)
    tokenizer.open.clear()
    files = [
        ("file", (f"{level}.png", encoded(picture(brightness=17 * level)), "image/png"))
        for level in range(16)
    ]
    call = asyncio.create_task(client.post(f"{BASE}/encode", files=files))
    await until(lambda: decoder.decoded == 3)
    await settle()
    assert decoder.decoded == 3
    tokenizer.open.set()
    items = (await call).json()["items"]
    assert [item["ids"] for item in items] == [[[level] * 2] * 2 for level in range(16)]


@pytest.mark.parametrize("query", ["?size=8x8&fit=resize", "?size=8x8&fit=crop"])
async def test_a_small_picture_that_is_made_large_counts_as_large(
    serve: Serve, tokenizer: BrightnessTokenizer, decoder: Decoder, query: str
) -> None:
    client = await serve(max_waiting_pixels=64)
    tokenizer.open.clear()
    calls = [encoding(client, picture(4, 4), query) for _ in range(3)]
    await until(lambda: decoder.decoded == 1)
    await settle()
    assert decoder.decoded == 1
    tokenizer.open.set()
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 3


async def test_every_call_that_makes_pictures_works_in_the_smallest_house(serve: Serve) -> None:
    client = await serve(max_waiting_pixels=1)
    npy = {"Content-Type": "application/x-npy"}
    calls = [
        client.post(f"{BASE}/{call}", content=content, headers=headers)
        for call in ("encode", "reconstruct")
        for content, headers in ((encoded(picture()), PNG), (write_npy(picture()), npy))
    ]
    calls += [client.post(f"{BASE}/decode", json={"ids": [[level]]}) for level in range(4)]
    answers = await asyncio.wait_for(asyncio.gather(*calls), timeout=30)
    assert [answer.status_code for answer in answers] == [200] * 8


async def test_pictures_of_decoded_grids_count_too(serve: Serve, tokenizer: BrightnessTokenizer) -> None:
    client = await serve(max_waiting_pixels=64)
    tokenizer.open.clear()
    calls = [
        asyncio.create_task(client.post(f"{BASE}/decode", json={"ids": [[1, 2], [3, 4]]})) for _ in range(2)
    ]
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    await settle()
    assert engine_of(client).waiting == 0
    tokenizer.open.set()
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200, 200]


async def test_the_budget_serves_in_order_and_forgets_who_leaves() -> None:
    budget = PixelBudget(10)
    inside: list[str] = []

    async def visit(name: str, pixels: int, leave: asyncio.Event) -> None:
        async with budget.hold(pixels):
            inside.append(name)
            await leave.wait()
        inside.remove(name)

    doors = {name: asyncio.Event() for name in ("first", "huge", "gone", "last")}
    visits = {}
    for name, pixels in (("first", 6), ("huge", 1000), ("gone", 8), ("last", 4)):
        visits[name] = asyncio.create_task(visit(name, pixels, doors[name]))
        await asyncio.sleep(0)
    await settle()
    assert inside == ["first"]  # the last would fit, but does not overtake
    visits["gone"].cancel()
    doors["first"].set()
    await until(lambda: inside == ["huge"])
    visits["huge"].cancel()
    await until(lambda: inside[-1:] == ["last"])
    doors["last"].set()
    await visits["last"]
    async with asyncio.timeout(30), budget.hold(10):
        pass
