"""The waiting room and the worker together, as the engine joins them."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from tests.server.fakes import POISON, BrightnessTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.jobs import Job, Operation
from vistok_server.waiting_room import WaitingRoom
from vistok_server.worker import Worker

PATIENCE = 30


@pytest.fixture
def tokenizer() -> BrightnessTokenizer:
    return BrightnessTokenizer()


@pytest.fixture
def room() -> WaitingRoom:
    return WaitingRoom(max_batch_pixels=10_000)


@pytest.fixture
def start(tokenizer: BrightnessTokenizer, room: WaitingRoom) -> Iterator[Callable[[], Worker]]:
    worker = Worker(lambda: {"fake": tokenizer}, room.take, room.halve_batches, None)

    def begin() -> Worker:
        worker.start()
        return worker

    yield begin
    tokenizer.open.set()
    room.close()
    worker.join()


def decoding(*ids: int, pixels: int = 16) -> Job:
    return Job("fake", Operation.DECODE, np.array([[ids]], np.int64), pixels)


def test_waiting_jobs_of_one_shape_become_one_batch(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Callable[[], Worker]
) -> None:
    jobs = [decoding(0), decoding(15), decoding(3, 4), decoding(5)]
    for job in jobs:
        room.put(job)
    start()
    results = [job.result.result(PATIENCE) for job in jobs]
    assert tokenizer.batches == [("decode", (3, 1, 1)), ("decode", (1, 1, 2))]
    assert [result.shape for result in results] == [(1, 4, 4, 3), (1, 4, 4, 3), (1, 4, 8, 3), (1, 4, 4, 3)]
    assert [int(result[0, 0, 0, 0]) for result in results] == [0, 255, 51, 85]


def test_one_bad_job_fails_alone(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Callable[[], Worker]
) -> None:
    jobs = [decoding(value) for value in (1, 2, POISON, 4, 5)]
    for job in jobs:
        room.put(job)
    start()
    good = [job.result.result(PATIENCE)[0, 0, 0, 0] for job in jobs if job is not jobs[2]]
    assert good == [17, 34, 68, 85]
    failure = jobs[2].result.exception(PATIENCE)
    assert isinstance(failure, VistokError)
    assert failure.code is ErrorCode.INTERNAL
    after = decoding(6)
    room.put(after)
    assert after.result.result(PATIENCE)[0, 0, 0, 0] == 102


def test_a_job_whose_caller_has_left_is_not_run(
    tokenizer: BrightnessTokenizer, room: WaitingRoom, start: Callable[[], Worker]
) -> None:
    left, stayed = decoding(1), decoding(2, 2)
    room.put(left)
    room.put(stayed)
    assert left.result.cancel()
    start()
    stayed.result.result(PATIENCE)
    assert tokenizer.batches == [("decode", (1, 1, 2))]


def test_closing_the_room_finishes_what_waits_and_takes_no_more(
    room: WaitingRoom, start: Callable[[], Worker]
) -> None:
    jobs = [decoding(*range(count)) for count in (1, 2, 3)]
    for job in jobs:
        room.put(job)
    room.close()
    worker = start()
    worker.join()
    assert all(job.result.done() for job in jobs)
    with pytest.raises(VistokError, match="stopping") as caught:
        room.put(decoding(1))
    assert caught.value.code is ErrorCode.NOT_READY


def test_running_out_of_memory_splits_the_batch_and_halves_the_next(
    tokenizer: BrightnessTokenizer,
    room: WaitingRoom,
    start: Callable[[], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode = tokenizer.decode

    def decode_two_at_most(ids: torch.Tensor) -> torch.Tensor:
        if len(ids) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return decode(ids)

    monkeypatch.setattr(tokenizer, "decode", decode_two_at_most)
    first, then = [decoding(i) for i in range(4)], [decoding(i) for i in range(4)]
    for job in first + then:
        room.put(job)
    start()
    assert [job.result.result(PATIENCE)[0, 0, 0, 0] for job in first + then] == [0, 17, 34, 51] * 2
    # Eight of 16 pixels were too many, and so were four; from then on a batch has 32 pixels.
    assert [shape[0] for _, shape in tokenizer.batches] == [2, 2, 2, 2]
    later = [decoding(i) for i in range(2)]
    for job in later:
        room.put(job)
    assert [job.result.result(PATIENCE)[0, 0, 0, 0] for job in later] == [0, 17]


def test_a_picture_too_large_for_the_device_is_the_callers_to_mend(
    tokenizer: BrightnessTokenizer,
    room: WaitingRoom,
    start: Callable[[], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(ids: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(tokenizer, "decode", never)
    job = decoding(1)
    room.put(job)
    start()
    failure = job.result.exception(PATIENCE)
    assert isinstance(failure, VistokError)
    assert failure.code is ErrorCode.TOO_LARGE


def test_a_failure_to_load_is_told(room: WaitingRoom) -> None:
    def load() -> dict[str, object]:
        raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, "no such folder")

    worker = Worker(load, room.take, room.halve_batches, None)  # type: ignore[arg-type]
    worker.start()
    with pytest.raises(VistokError, match="no such folder"):
        worker.tokenizers.result(PATIENCE)
    worker.join()
    assert not worker.alive
