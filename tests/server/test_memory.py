"""What the house holds in memory: it is bounded, and who leaves leaves nothing behind."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from tests.server.conftest import Serve, encoded, engine_of, picture, until_waiting
from tests.server.fakes import BrightnessTokenizer
from vistok.media.fitting import Fit
from vistok_protocol.npy import write_npy
from vistok_server.app import create_app
from vistok_server.jobs import Job, Sender
from vistok_server.orders import Encode, Lookup
from vistok_server.settings import Settings
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.execution import Executor
from vistok_server.workers.memory import PeakMemory
from vistok_server.workers.worker import Batch

BASE = "/v1/tokenizers/fake"
PNG = {"Content-Type": "image/png"}


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
    room = WaitingRoom(max_batch_pixels=100, max_wait_seconds=1)
    first, second = (
        Job(Sender("test"), "fake", Lookup(np.zeros((1, 1, 1), np.int64)), (1, 4, 4), 16, asyncio.Future())
        for _ in range(2)
    )
    room.put(first)
    room.put(second)
    room.withdraw(first)
    room.withdraw(first)
    assert len(room) == 1
    assert room.take() == [second]


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
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, door = threading.Semaphore(0), threading.Event()

    def slow(*arguments: object) -> None:
        entered.release()
        assert door.wait(30)

    monkeypatch.setattr("vistok_server.routes.coding.read_grid", slow)
    leaving = asyncio.create_task(client.post(f"{BASE}/decode", json={"ids": [[1] * 20_000]}))
    assert await asyncio.to_thread(entered.acquire, timeout=30)
    leaving.cancel()
    await settle()
    assert engine_of(client).in_house == 1
    door.set()
    await until(lambda: engine_of(client).in_house == 0)


def test_a_worker_holds_no_more_pictures_at_once_than_a_batch_may_have(
    tokenizer: BrightnessTokenizer,
) -> None:
    """Whatever was thought of their size at the door."""
    bodies = [encoded(picture(brightness=17 * level)) for level in range(16)]
    orders = [Encode(np.frombuffer(body, np.uint8), "image/png", Fit()) for body in bodies]
    for threads in (1, 3):
        executor = Executor({"fake": tokenizer}, Settings(max_batch_pixels=3 * 64), threads)
        outcomes = executor.execute(Batch("fake", orders))
        assert [outcome.ids.tolist() for outcome in outcomes.results] == [
            [[level] * 2] * 2 for level in range(16)
        ]
    assert [shape[0] for _, shape in tokenizer.batches] == 2 * [3, 3, 3, 3, 3, 1]


async def test_what_has_to_be_decoded_counts_though_the_model_sees_less(
    serve: Serve, tokenizer: BrightnessTokenizer
) -> None:
    """A large picture that is made small, and one that does not tell its size, are batches of their own."""
    client = await serve(max_batch_pixels=64 * 64)
    tokenizer.open.clear()
    held = encoding(client, picture())
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    calls = [encoding(client, picture(64, 64), "?max_side=8") for _ in range(3)]
    calls += [
        asyncio.create_task(
            client.post(
                f"{BASE}/encode", content=encoded(picture(), "ppm"), headers={"Content-Type": "image/x"}
            )
        )
        for _ in range(3)
    ]
    await until_waiting(client, 5)  # and one lies ready at the worker, since it makes a full batch
    tokenizer.open.set()
    answers = await asyncio.gather(held, *calls)
    assert [answer.status_code for answer in answers] == [200] * 7
    assert [shape[0] for _, shape in tokenizer.batches] == [1] * 7


async def test_bodies_count_until_their_call_is_answered(
    serve: Serve, tokenizer: BrightnessTokenizer
) -> None:
    body = write_npy(picture(16, 16))
    client = await serve(max_waiting_bytes=2 * len(body))

    def asking() -> "asyncio.Task[httpx.Response]":
        headers = {"Content-Type": "application/x-npy"}
        return asyncio.create_task(client.post(f"{BASE}/encode", content=body, headers=headers))

    tokenizer.open.clear()
    held = [asking()]
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    held.append(asking())
    await until_waiting(client, 1)
    refused = await asking()
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    assert f"of {2 * len(body)} bytes" in refused.json()["detail"]
    tokenizer.open.set()
    assert [answer.status_code for answer in await asyncio.gather(*held)] == [200, 200]
    assert (await asking()).status_code == 200


async def test_pixels_that_wait_are_bounded_and_one_large_picture_may_wait_alone(
    serve: Serve, tokenizer: BrightnessTokenizer
) -> None:
    client = await serve(max_waiting_pixels=64)
    tokenizer.open.clear()
    held = [encoding(client, picture())]
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    held.append(encoding(client, picture(16, 16)))
    await until_waiting(client, 1)
    refused = await encoding(client, picture(4, 4))
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    assert "256 of 64 pixels wait, 16 more" in refused.json()["detail"]
    tokenizer.open.set()
    assert [answer.status_code for answer in await asyncio.gather(*held)] == [200, 200]


async def test_batches_are_split_and_pictures_refused_for_which_there_is_no_memory(tiny_folder: Path) -> None:
    side = 64
    settings = Settings(tokenizers=(str(tiny_folder),), devices=("cpu",), max_batch_bytes=40 * side**2)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://vistok", timeout=60) as client,
    ):
        await app.state.engine.served.loaded
        url = "/v1/tokenizers/tiny/encode"
        fits, larger = encoded(picture(side, side)), encoded(picture(side, 2 * side))
        answers = [client.post(url, content=body, headers=PNG) for body in (fits, larger) * 10]
        codes = [answer.status_code for answer in await asyncio.gather(*answers)]
        assert codes == [200, 413] * 10
        files = [("file", (str(number), fits, "image/png")) for number in range(20)]
        assert all("ids" in item for item in (await client.post(url, files=files)).json()["items"])
        refused = (await client.post(url, content=larger, headers=PNG)).json()
        assert refused["code"] == "too_large"
        assert f"got {2 * side**2}" in refused["detail"]


def test_the_peak_of_memory_is_that_of_all_tensors_alive_together() -> None:
    with PeakMemory() as memory:
        first = torch.zeros(1000)
        view = first.view(10, 100) + 1
        del first
        assert view.sum() == 1000
        torch.zeros(500)
    assert memory.peak == 2 * 4000
