"""Worker processes: real ones, of a real tokenizer, killed and stopped as a machine would."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.server.conftest import encoded, pixels_of
from vistok import VisualTokenizer
from vistok.grids import decode_grid, encode_picture
from vistok.media.fitting import Fit
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import write_npy
from vistok_protocol.tokens import PixelSize
from vistok_server.app import create_app
from vistok_server.orders import Computed, Decode, Encode, Encoded, Failed, Quantize
from vistok_server.settings import Settings
from vistok_server.workers.placement import Placement, placements
from vistok_server.workers.process import ProcessWorker
from vistok_server.workers.worker import Batch, WorkerLost

PNG = {"Content-Type": "image/png"}
# As on an accelerator: with two batches at a time.
PLACEMENT = Placement("auto", torch_threads=1, media_threads=2)


# As many as there are cores at least: one worker has them all.
ALL_CORES = 1024


def settings(folder: Path, **values: object) -> Settings:
    return Settings(tokenizers=(str(folder),), devices=("cpu",), torch_threads=ALL_CORES, **values)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Callable[[], list[int]]]]:
    """Give a client of the application, ready, and what tells the ids of its worker processes."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://vistok", timeout=60) as client,
    ):
        engine = app.state.engine
        await engine.served.loaded

        def process_ids() -> list[int]:
            workers = [supervisor._worker for supervisor in engine._supervisors]
            return [worker.process_id for worker in workers if worker.process_id is not None]

        yield client, process_ids


@pytest.fixture
async def worker(tiny_folder: Path) -> AsyncIterator[ProcessWorker]:
    worker = ProcessWorker(settings(tiny_folder), PLACEMENT)
    yield worker
    await worker.stop()


def noise(count: int, height: int, width: int) -> list[np.ndarray]:
    random = np.random.default_rng(height)
    return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def encoding(picture: np.ndarray) -> Encode:
    return Encode(np.frombuffer(write_npy(picture), np.uint8), media_types.NPY, Fit())


async def test_arrays_come_through_as_they_are(worker: ProcessWorker, tiny_folder: Path) -> None:
    """Also larger ones than before."""
    (described,) = (await worker.start()).values()
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    assert described == tokenizer.describe()
    for side in (16, 640, 32):
        pictures = noise(3, side, side)
        outcomes = await worker.run(Batch("tiny", [encoding(picture) for picture in pictures]))
        ids = [result.ids for result in outcomes.results]
        assert np.array_equal(ids, [encode_picture(tokenizer, picture).ids for picture in pictures])
        orders = [Decode(one, PixelSize(side, side), media_types.PNG) for one in ids]
        back = await worker.run(Batch("tiny", orders))
        grids = [encode_picture(tokenizer, picture) for picture in pictures]
        for result, grid in zip(back.results, grids, strict=True):
            assert np.array_equal(pixels_of(result.content.tobytes()), decode_grid(tokenizer, grid))


async def test_an_error_belongs_to_its_job(worker: ProcessWorker) -> None:
    await worker.start()
    good, bad = np.zeros((1, 3, 2, 2), np.float32), np.full((1, 3, 2, 2), np.nan, np.float32)
    outcomes = await worker.run(Batch("tiny", [Quantize(good), Quantize(bad), Quantize(good)]))
    assert [type(result) for result in outcomes.results] == [Computed, Failed, Computed]
    assert outcomes.results[1].code is ErrorCode.INVALID_ARRAY


async def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    worker = ProcessWorker(settings(tmp_path / "nothing"), PLACEMENT)
    with pytest.raises(VistokError, match="expected a bundled tokenizer"):
        await worker.start()
    await worker.stop()


async def test_a_killed_worker_is_lost_and_starts_again(worker: ProcessWorker) -> None:
    await worker.start()
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGKILL)
    batch = Batch("tiny", [encoding(np.zeros((8, 8, 3), np.uint8))])
    with pytest.raises(WorkerLost):
        await worker.run(batch)
    await worker.stop()
    await worker.start()
    assert len((await worker.run(batch)).results) == 1


async def test_two_batches_at_a_time_come_back_as_themselves(
    worker: ProcessWorker, tiny_folder: Path
) -> None:
    await worker.start()
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    for side in (16, 640):
        batches = [noise(3, side, 16), noise(2, side, 24)]
        found = await asyncio.gather(
            *(worker.run(Batch("tiny", [encoding(picture) for picture in pictures])) for pictures in batches)
        )
        for pictures, outcomes in zip(batches, found, strict=True):
            ids = [result.ids for result in outcomes.results]
            assert np.array_equal(ids, [encode_picture(tokenizer, picture).ids for picture in pictures])


async def test_what_is_not_wanted_any_more_is_not_done(worker: ProcessWorker) -> None:
    await worker.start()
    batch = Batch("tiny", [encoding(picture) for picture in noise(3, 640, 640)])
    running = asyncio.create_task(worker.run(batch))
    await asyncio.sleep(0)
    worker.forget(batch, 1)
    outcomes = (await running).results
    assert [type(outcome) for outcome in outcomes] == [Encoded, Failed, Encoded]


async def test_a_killed_worker_tells_what_it_had_begun(worker: ProcessWorker) -> None:
    await worker.start()
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGSTOP)
    batches = [Batch("tiny", [encoding(picture)]) for picture in noise(2, 8, 8)]
    running = [asyncio.create_task(worker.run(batch)) for batch in batches]
    await asyncio.sleep(0.01)
    os.kill(worker.process_id, signal.SIGKILL)
    lost = await asyncio.gather(*running, return_exceptions=True)
    assert [isinstance(error, WorkerLost) and error.had_begun for error in lost] == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
async def test_workers_die_under_load_and_every_answer_is_right(
    tiny_folder: Path, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Placement, "lanes", lanes)
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    pictures = noise(40, 16, 24) + noise(20, 40, 8)
    bodies = [encoded(picture) for picture in pictures]
    expected = [encode_picture(tokenizer, picture).ids.tolist() for picture in pictures]
    killed: set[int] = set()
    async with serving(settings(tiny_folder)) as (client, process_ids):

        async def ask(body: bytes) -> httpx.Response:
            return await client.post("/v1/tokenizers/tiny/encode", content=body, headers=PNG)

        for _ in range(4):
            calls = [asyncio.create_task(ask(body)) for body in bodies]
            await calls[0]
            for process_id in process_ids():
                os.kill(process_id, signal.SIGKILL)
                killed.add(process_id)
            answers = await asyncio.gather(*calls)
            assert [answer.text for answer in answers if answer.status_code != 200] == []
            assert [answer.json()["ids"] for answer in answers] == expected
            # One that had no work when it was killed must not take the next ones down with it.
            while not process_ids() or killed.intersection(process_ids()):
                await asyncio.sleep(0.01)
        assert len(killed) == 4


@pytest.mark.slow
async def test_a_worker_that_hangs_is_replaced(tiny_folder: Path) -> None:
    async with serving(settings(tiny_folder, batch_timeout_seconds=1)) as (client, process_ids):
        (stopped,) = process_ids()
        os.kill(stopped, signal.SIGSTOP)
        answer = await client.post(
            "/v1/tokenizers/tiny/encode", content=encoded(noise(1, 8, 8)[0]), headers=PNG
        )
        assert answer.status_code == 200
        assert process_ids() != [stopped]
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)


@pytest.mark.slow
async def test_two_workers_share_the_load_and_agree(tiny_folder: Path) -> None:
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    pictures = [picture for side in (8, 16, 33, 50) for picture in noise(16, side, 2 * side)]
    two = settings(tiny_folder).model_copy(update={"devices": ("cpu", "cpu")})
    async with serving(two) as (client, process_ids):
        assert len(set(process_ids())) == 2
        answers = await asyncio.gather(
            *(
                client.post("/v1/tokenizers/tiny/encode", content=encoded(picture), headers=PNG)
                for picture in pictures
            )
        )
    assert [answer.json()["ids"] for answer in answers] == [
        encode_picture(tokenizer, picture).ids.tolist() for picture in pictures
    ]


@pytest.mark.slow
async def test_a_worker_that_dies_with_nothing_to_do_is_replaced(tiny_folder: Path) -> None:
    async with serving(settings(tiny_folder)) as (client, process_ids):
        (killed,) = process_ids()
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.001)
            while (await client.get("/readyz")).status_code == 503:
                await asyncio.sleep(0.01)
        assert process_ids() != [killed]


@pytest.mark.parametrize(
    ("devices", "threads", "expected"),
    [
        (("cpu",), None, [("cpu", 1)] * 6),
        (("cpu",), 4, [("cpu", 4)]),
        (("cpu",), 100, [("cpu", 6)]),
        (("cpu", "cpu"), 2, [("cpu", 2)] * 2),
        (("cuda:0", "cuda:1"), None, [("cuda:0", 3), ("cuda:1", 3)]),
    ],
)
def test_processors_have_as_many_workers_as_have_room(
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    threads: int | None,
    expected: list[tuple[str, int]],
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    placed = placements(Settings(devices=devices, torch_threads=threads))
    assert [(placement.device, placement.torch_threads) for placement in placed] == expected
    assert all(placement.media_threads == placement.torch_threads for placement in placed)
