"""Batches out of the waiting room to one worker that is up, and their results back to the jobs."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server import tracing
from vistok_server.jobs import Job
from vistok_server.metrics import Metrics
from vistok_server.orders import Failed
from vistok_server.speed import Speed
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.worker import Batch, Outcomes, Worker, WorkerLost

# A job is begun when this many times the time that its batch is thought to take is left.
_CAUTION = 2.0


class Dispatcher:
    """Keeps a worker busy: while it does one batch, the next lies ready there; belongs to the event loop.

    A job that was being done when its worker was lost goes back to the front of the room, once, and then
    travels alone: so one that kills workers fails by itself, and its neighbours are answered.
    """

    def __init__(
        self, worker: Worker, room: WaitingRoom, metrics: Metrics, batch_timeout_seconds: float
    ) -> None:
        self._worker = worker
        self._room = room
        self._metrics = metrics
        self._batch_timeout_seconds = batch_timeout_seconds
        self.is_open = False
        """Whether the worker takes batches."""
        self._at_worker: list[list[Job]] = []
        self._patience: set[asyncio.Timeout] = set()
        self._last_done = 0.0
        self._is_paused = False
        self._turn = asyncio.Lock()
        self._speeds: defaultdict[tuple[str, str], Speed] = defaultdict(Speed)

    async def work(self) -> NoReturn:
        """Do what comes until the worker is lost: WorkerLost, and nothing is left there."""
        self.is_open = True
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._worker.lanes)]
        try:
            ended, _ = await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
            await self._worker.stop()  # by which the other lanes that have a batch there lose it, too
            raise ended.pop().exception() or AssertionError("lanes end by errors alone")
        finally:
            self.is_open = False
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Surround what may not be done while the worker has a batch: it has none, and gets none."""
        async with self._turn:
            self._is_paused = True
            try:
                while self._at_worker:
                    await self._room.changed()
                yield
            finally:
                self._is_paused = False
                self._room.wake()

    async def _lane(self) -> NoReturn:
        """Have one batch after the other at the worker; another lane may have one there, too."""
        while True:
            await self._until_a_batch_may_leave()
            if jobs := self._in_time(self._room.take()):
                await self._do(jobs)

    async def _until_a_batch_may_leave(self) -> None:
        """Wait for work; WorkerLost when the worker is lost before there is any."""
        while not self._worker.lost.done():
            seconds = self._seconds_until_one_may_leave()
            if seconds <= 0:
                return
            await self._room.changed(within=seconds)
        raise WorkerLost("a worker that had nothing to do has ended")

    def _seconds_until_one_may_leave(self) -> float:
        if self._is_paused or not self.is_open or not len(self._room):
            return math.inf
        if not self._at_worker:
            return 0.0
        if any(job.has_lost_a_worker for jobs in self._at_worker for job in jobs):
            return math.inf
        return self._room.seconds_until_due(time.monotonic())

    def _in_time(self, jobs: list[Job]) -> list[Job]:
        """Answer the jobs that would be done too late, where others wait for whom the time is better spent.

        Where nobody waits they are tried: so a worker that was slow once learns that it is not any more.
        """
        if not jobs or not len(self._room):
            return jobs
        seconds = self._speeds[jobs[0].kind].seconds_for(_pixels_of(jobs))
        soonest = time.monotonic() + _CAUTION * seconds
        for job in jobs:
            if job.sender.deadline < soonest and not job.result.done():
                tracing.leave((job,))
                detail = f"too little time was left for this {job.order.operation}"
                job.result.set_exception(VistokError(ErrorCode.TIMED_OUT, detail))
        return [job for job in jobs if not job.result.done()]

    async def _do(self, jobs: list[Job]) -> None:
        start = time.monotonic()
        tracing.enter_device(jobs)
        self._at_worker.append(jobs)
        batch = Batch(jobs[0].tokenizer, [job.order for job in jobs])
        for index, job in enumerate(jobs):
            job.give_up = partial(self._worker.forget, batch, index)
        try:
            outcomes = await self._outcomes(batch)
        except asyncio.CancelledError:
            self._put_back(jobs, had_begun=False)
            raise
        except Exception as error:
            self.is_open = False  # at once: the other lanes wake before whoever closes this worker
            self._put_back(jobs, had_begun=not isinstance(error, WorkerLost) or error.had_begun)
            raise
        finally:
            for job in jobs:
                job.give_up = None
            self._at_worker.remove(jobs)
            self._room.wake()
        tracing.leave(jobs)
        self._learn(jobs, start)
        self._answer(jobs, outcomes)

    async def _outcomes(self, batch: Batch) -> Outcomes:
        """Have the worker do a batch; WorkerLost, also when it does nothing for too long."""
        try:
            async with asyncio.timeout(self._batch_timeout_seconds) as patience:
                self._patience.add(patience)
                try:
                    return await self._worker.run(batch)
                finally:
                    self._patience.discard(patience)
        except TimeoutError:
            raise WorkerLost("a worker did not answer in time") from None

    def _learn(self, jobs: list[Job], start: float) -> None:
        """Count a batch that is done. The others there were not waited for in vain: their time begins now."""
        for patience in self._patience:
            patience.reschedule(asyncio.get_running_loop().time() + self._batch_timeout_seconds)
        now, pixels = time.monotonic(), _pixels_of(jobs)
        self._speeds[jobs[0].kind].learn(pixels, now - max(start, self._last_done))
        self._last_done = now
        self._metrics.count_batch(jobs, start, now - start, pixels, pixels / self._room.max_batch_pixels)

    def _answer(self, jobs: list[Job], outcomes: Outcomes) -> None:
        for job, outcome in zip(jobs, outcomes.results, strict=True):
            if job.result.done():
                continue  # its caller has left
            if isinstance(outcome, Failed):
                job.result.set_exception(outcome.error)
            else:
                job.result.set_result(outcome)
        if outcomes.too_many_pixels is not None:
            self._room.halve_batches(outcomes.too_many_pixels)

    def _put_back(self, jobs: list[Job], had_begun: bool) -> None:
        """Return jobs that are not done; those that have lost a second worker fail."""
        tracing.lose_worker(jobs)
        for job in jobs:
            if had_begun and job.has_lost_a_worker and not job.result.done():
                job.result.set_exception(
                    VistokError(ErrorCode.INTERNAL, f"two workers were lost at this {job.order.operation}")
                )
            job.has_lost_a_worker |= had_begun
        self._room.put_back(job for job in jobs if not job.result.done())


def _pixels_of(jobs: list[Job]) -> int:
    return sum(job.pixels for job in jobs)
