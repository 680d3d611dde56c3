"""The waiting room, a supervisor and a worker together, as the engine joins them."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping

import numpy as np
import pytest
import torch

from tests.server.fakes import POISON, BrightnessTokenizer
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import read_npy
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import PixelSize
from vistok_server.jobs import Job, Sender
from vistok_server.metrics import Metrics
from vistok_server.orders import Decode, Written
from vistok_server.settings import Settings
from vistok_server.supervision import Supervisor
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.in_process import InProcessWorker
from vistok_server.workers.worker import Batch, Outcomes, Worker, WorkerLost

PATIENCE = 30
DEADLY = 14  # an id that ends a `MortalWorker`
Start = Callable[..., "asyncio.Task[None]"]


class MortalWorker(InProcessWorker):
    """Is lost whenever a batch holds the deadly id, or as often as it is told."""

    def __init__(self, tokenizer: BrightnessTokenizer, losses: int = 0) -> None:
        super().__init__({"fake": tokenizer}, Settings())
        self.losses = losses
        self.started = 0

    async def start(self) -> Mapping[str, TokenizerInfo]:
        self.started += 1
        return await super().start()

    async def run(self, batch: Batch) -> Outcomes:
        if self.losses or any((order.ids == DEADLY).any() for order in batch.orders):
            self.losses = max(0, self.losses - 1)
            raise WorkerLost("the worker has ended")
        return await super().run(batch)

    async def stop(self) -> None:
        """Its thread is used again by the next start."""


@pytest.fixture
def tokenizer() -> BrightnessTokenizer:
    return BrightnessTokenizer()


@pytest.fixture
async def room() -> WaitingRoom:
    """Jobs wait in it while a worker is busy."""
    return WaitingRoom(max_batch_pixels=10_000, max_wait_seconds=PATIENCE)


@pytest.fixture
async def start(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    monkeypatch.setattr("vistok_server.supervision._FIRST_PAUSE_SECONDS", 0.001)
    tasks = []

    def begin(worker: Worker | None = None, timeout: float = PATIENCE) -> "asyncio.Task[None]":
        supervisor = Supervisor(
            worker or InProcessWorker({"fake": tokenizer}, Settings()), room, Metrics(), timeout
        )
        tasks.append(asyncio.create_task(supervisor.serve()))
        return tasks[-1]

    yield begin
    tokenizer.open.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def decoding(room: WaitingRoom, *ids: int, pixels: int = 16, deadline: float = math.inf) -> Job:
    result = asyncio.get_running_loop().create_future()
    order = Decode(np.array([ids], np.int64), PixelSize(4, 4 * len(ids)), media_types.NPY)
    job = Job(Sender("test", deadline=deadline), "fake", order, (4, 4 * len(ids)), pixels, result)
    room.put(job)
    return job


def picture_of(written: Written) -> np.ndarray:
    return read_npy(written.content.tobytes(), max_elements=10_000)


async def first_pixel(job: Job) -> int:
    return int(picture_of(await asyncio.wait_for(job.result, PATIENCE))[0, 0, 0])


async def failure(job: Job) -> VistokError:
    with pytest.raises(VistokError) as caught:
        await asyncio.wait_for(job.result, PATIENCE)
    return caught.value


async def test_waiting_jobs_of_one_shape_become_one_batch(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    jobs = [decoding(room, 0), decoding(room, 15), decoding(room, 3, 4), decoding(room, 5)]
    start()
    assert [await first_pixel(job) for job in jobs] == [0, 255, 51, 85]
    shapes = [picture_of(job.result.result()).shape for job in jobs]
    assert shapes == [(4, 4, 3)] * 2 + [(4, 8, 3), (4, 4, 3)]
    assert tokenizer.batches == [("decode", (3, 1, 1)), ("decode", (1, 1, 2))]


async def test_one_bad_job_fails_alone(room: WaitingRoom, start: Start) -> None:
    jobs = [decoding(room, value) for value in (1, 2, POISON, 4, 5)]
    start()
    assert [await first_pixel(job) for job in jobs if job is not jobs[2]] == [17, 34, 68, 85]
    assert (await failure(jobs[2])).code is ErrorCode.INTERNAL
    assert await first_pixel(decoding(room, 6)) == 102


async def test_a_job_that_would_be_late_is_not_begun(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    tokenizer.open.clear()
    slow = decoding(room, 1, 2)
    start()
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=PATIENCE)
    await asyncio.sleep(0.2)
    late = decoding(room, 3, deadline=time.monotonic() + 0.1)
    patient = decoding(room, 4, 4, 4, deadline=time.monotonic() + PATIENCE)
    tokenizer.open.set()
    assert await first_pixel(slow) == 17
    assert (await failure(late)).code is ErrorCode.TIMED_OUT
    assert await first_pixel(patient) == 68
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 2), (1, 1, 3)]
    alone = decoding(room, 5, deadline=time.monotonic() + 0.1)
    assert await first_pixel(alone) == 85, "there is nothing better to do"


async def test_a_lost_workers_jobs_are_done_by_the_next(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    worker = MortalWorker(tokenizer, losses=1)
    jobs = [decoding(room, value) for value in range(5)]
    start(worker)
    assert [await first_pixel(job) for job in jobs] == [0, 17, 34, 51, 68]
    assert worker.started == 2


async def test_a_job_that_kills_workers_fails_by_itself(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    worker = MortalWorker(tokenizer)
    jobs = [decoding(room, value) for value in (1, 2, DEADLY, 4, 5)]
    start(worker)
    assert [await first_pixel(job) for job in jobs if job is not jobs[2]] == [17, 34, 68, 85]
    assert "two workers were lost" in (await failure(jobs[2])).detail
    assert await first_pixel(decoding(room, 6)) == 102
    assert worker.started == 3
    assert Counter(shape[0] for _, shape in tokenizer.batches) == {1: 5}, "after a loss each travels alone"


async def test_a_worker_that_hangs_is_replaced(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    class Hanging(MortalWorker):
        async def run(self, batch: Batch) -> Outcomes:
            if self.started == 1:
                await asyncio.sleep(PATIENCE)
            return await super().run(batch)

    worker = Hanging(tokenizer)
    job = decoding(room, 3)
    start(worker, timeout=0.05)
    assert await first_pixel(job) == 51
    assert worker.started == 2


async def test_the_next_batch_lies_ready_at_a_busy_worker(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    """And a third waits: for the device, batches are still one after the other."""
    room.max_wait_seconds = 0
    tokenizer.open.clear()
    first = decoding(room, 1)
    start()
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=PATIENCE)
    second, third = decoding(room, 2, 2), decoding(room, 3, 3, 3)
    async with asyncio.timeout(PATIENCE):
        while len(room) > 1:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert (len(room), tokenizer.entered.acquire(blocking=False)) == (1, False)
    tokenizer.open.set()
    assert [await first_pixel(job) for job in (first, second, third)] == [17, 34, 51]
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 1), (1, 1, 2), (1, 1, 3)]


async def test_a_full_batch_does_not_gather_longer(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    tokenizer.open.clear()
    decoding(room, 1)
    start()
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=PATIENCE)
    decoding(room, 2, pixels=room.max_batch_pixels // 2)
    await asyncio.sleep(0.02)
    assert len(room) == 1
    decoding(room, 3, pixels=room.max_batch_pixels // 2)
    async with asyncio.timeout(PATIENCE):
        while len(room):
            await asyncio.sleep(0.001)


async def test_both_batches_at_a_lost_worker_are_done_by_the_next(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    """Also where two were lost: what they had not looked at is not blamed."""
    room.max_wait_seconds = 0
    both = asyncio.Barrier(2)

    class Dying(MortalWorker):
        async def run(self, batch: Batch) -> Outcomes:
            if self.started > 2:
                return await super().run(batch)
            await both.wait()
            raise WorkerLost("the worker has ended", had_begun=False)

    worker = Dying(tokenizer)
    jobs = [decoding(room, 1), decoding(room, 2, 2)]
    start(worker)
    assert [await first_pixel(job) for job in jobs] == [17, 34]
    assert worker.started == 3


async def test_a_caller_who_leaves_while_the_worker_is_replaced_costs_nothing(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start
) -> None:
    leaving = decoding(room, 1, 2)

    class Abandoned(MortalWorker):
        async def run(self, batch: Batch) -> Outcomes:
            leaving.result.cancel()
            return await super().run(batch)

    start(Abandoned(tokenizer, losses=1))
    assert await first_pixel(decoding(room, 3)) == 51
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 1)]


async def test_running_out_of_memory_splits_the_batch_and_halves_the_next(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = tokenizer.decode

    def decode_two_at_most(ids: torch.Tensor) -> torch.Tensor:
        if len(ids) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return decode(ids)

    monkeypatch.setattr(tokenizer, "decode", decode_two_at_most)
    jobs = [decoding(room, i % 4) for i in range(8)]
    start()
    assert [await first_pixel(job) for job in jobs] == [0, 17, 34, 51] * 2
    # Eight of 16 pixels were too many, and so were four; from then on a batch has 32 pixels.
    assert [shape[0] for _, shape in tokenizer.batches] == [2, 2, 2, 2]
    later = [decoding(room, i) for i in range(4)]
    assert [await first_pixel(job) for job in later] == [0, 17, 34, 51]
    assert [shape[0] for _, shape in tokenizer.batches[4:]] == [2, 2]


async def test_a_device_that_fails_costs_its_worker_and_no_job(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = tokenizer.decode
    failures = [torch.AcceleratorError("CUDA error: an illegal memory access was encountered")]

    def fail_once(ids: torch.Tensor) -> torch.Tensor:
        if failures:
            raise failures.pop()
        return decode(ids)

    monkeypatch.setattr(tokenizer, "decode", fail_once)
    worker = MortalWorker(tokenizer)
    jobs = [decoding(room, value) for value in range(3)]
    start(worker)
    assert [await first_pixel(job) for job in jobs] == [0, 17, 34]
    assert worker.started == 2


async def test_a_picture_too_large_for_the_device_is_the_callers_to_mend(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(ids: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(tokenizer, "decode", never)
    job = decoding(room, 1)
    start()
    assert (await failure(job)).code is ErrorCode.TOO_LARGE
