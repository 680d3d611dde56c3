"""A real service that is asked for more than it can do, by callers who do not wait their turn."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.end_to_end.watching import PATIENCE_SECONDS, figure, resident_kibibytes, until, workers_of
from tests.pictures import encoded, scene
from tests.service import Service, started

# More threads than there are cores: one worker has them all.
ONE_WORKER = {"VISTOK_TORCH_THREADS": "1024", "VISTOK_MEDIA_THREADS": "1"}
ENCODE = "/v1/tokenizers/tiny/encode?ids=false"
CALLERS = 96
OVERLOAD, OVERLOAD_SECONDS, SETTLED_SECONDS = 10, 20, 5
DEADLINE_SECONDS = 3.0
REFUSED_SECONDS = 0.25
# As much as this process can ask for without being late itself.
MOST_CALLS_PER_SECOND = 400


async def seen(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition)


@dataclass
class Answer:
    status: int
    retry_after: str | None
    seconds: float


class Caller:
    """One connection with one request on it."""

    def __init__(self, service: Service, body: bytes, **headers: str) -> None:
        url = urlsplit(service.url)
        assert url.hostname is not None
        self._address = url.hostname, url.port
        headers = {"Host": url.netloc, "Content-Type": "image/png", **headers}
        lines = [f"POST {ENCODE} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "\r\n"])
        self._request = head.encode() + body

    async def ask(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._writer.write(self._request)
        await self._writer.drain()

    async def answer(self) -> Answer:
        start = time.monotonic()
        await self.ask()
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        await self._reader.readexactly(int(headers["content-length"]))
        self.hang_up()
        return Answer(int(status.split()[1]), headers.get("retry-after"), time.monotonic() - start)

    def hang_up(self) -> None:
        self._writer.transport.abort()


@pytest.mark.slow
async def test_what_callers_who_hang_up_wanted_is_not_computed(tiny_folder: Path) -> None:
    """All but the batch that a worker has already begun."""
    body = encoded(scene(64, 48))
    with started("--tokenizer", str(tiny_folder), "--device", "cpu", **ONE_WORKER) as service:
        callers = [Caller(service, body) for _ in range(CALLERS)]
        (worker,) = workers_of(service)
        os.kill(worker, signal.SIGSTOP)
        await callers[0].ask()
        await seen(
            lambda: (figure(service, "vistok_items"), figure(service, "vistok_jobs_waiting")) == (1, 0)
        )
        for caller in callers[1:]:
            await caller.ask()
        await seen(lambda: figure(service, "vistok_jobs_waiting") == CALLERS - 1)
        for caller in callers:
            caller.hang_up()
        await seen(
            lambda: (figure(service, "vistok_items"), figure(service, "vistok_jobs_waiting")) == (0, 0)
        )
        os.kill(worker, signal.SIGCONT)
        answer = httpx.post(
            service.url + ENCODE,
            content=body,
            headers={"Content-Type": "image/png"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200
        assert figure(service, "vistok_batch_jobs_sum") == 2, "the one that had begun, and the last one"
        assert figure(service, "vistok_pixels_total") == 2 * 64 * 48
        assert workers_of(service) == [worker]


@pytest.mark.slow
async def test_ten_times_the_load_is_answered_in_time_or_refused_at_once(tiny_folder: Path) -> None:
    """The house holds more than callers have time for, so that there are answers of all three kinds."""
    body = encoded(scene(1024, 1024), "jpeg", quality=20)
    settings = ONE_WORKER | {"VISTOK_MAX_QUEUE": "64"}
    with started("--tokenizer", str(tiny_folder), "--device", "cpu", **settings) as service:
        load = min(OVERLOAD * await pace_of(service, body), MOST_CALLS_PER_SECOND)
        answers, memory, lateness = await overloaded(service, body, load)
        assert (await Caller(service, body).answer()).status == 200
    assert {answer.status for answer in answers} <= {200, 429, 504}
    accepted = sorted(answer.seconds for answer in answers if answer.status == 200)
    refused = [answer for answer in answers if answer.status == 429]
    assert accepted[int(0.99 * len(accepted))] < 1.1 * DEADLINE_SECONDS + lateness
    assert all(answer.retry_after is not None and int(answer.retry_after) >= 1 for answer in refused)
    assert statistics.median(answer.seconds for answer in refused) < REFUSED_SECONDS + lateness
    assert max(memory) < 1.3 * memory[0]


async def pace_of(service: Service, body: bytes) -> float:
    """Give how many calls a second the service answers when it always has some to do."""
    start, count = time.monotonic(), 0

    async def again_and_again() -> None:
        nonlocal count
        while time.monotonic() < start + 3:
            assert (await Caller(service, body).answer()).status == 200
            count += 1

    await asyncio.gather(*(again_and_again() for _ in range(4)))
    return count / (time.monotonic() - start)


async def overloaded(
    service: Service, body: bytes, per_second: float
) -> tuple[list[Answer], list[int], float]:
    """Call at this rate whatever comes back; give the answers, and the memory from when it has settled.

    And by how many seconds this process was late itself, where others have the processors.
    """
    lateness = 0.0
    milliseconds = str(int(1000 * DEADLINE_SECONDS))
    memory: list[int] = []
    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        calls = []
        for number in range(int(per_second * OVERLOAD_SECONDS)):
            await asyncio.sleep(start + number / per_second - time.monotonic())
            lateness = max(lateness, time.monotonic() - start - number / per_second)
            caller = Caller(service, body, **{"X-Timeout-Ms": milliseconds})
            calls.append(group.create_task(caller.answer()))
            if number / per_second > SETTLED_SECONDS + len(memory):
                memory.append(resident_kibibytes(service.process.pid))
    return [call.result() for call in calls], memory, lateness
