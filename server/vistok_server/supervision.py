"""One worker kept at work: batches in, results out, and a new start whenever it is lost."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import NoReturn

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server import tracing
from vistok_server.jobs import Job
from vistok_server.metrics import Metrics
from vistok_server.orders import Failed
from vistok_server.speed import Speed
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.worker import Batch, Outcomes, Worker, WorkerLost

logger = logging.getLogger(__name__)

# Between two starts of a worker that keeps getting lost: doubled each time, from the first to the last.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.25, 30.0
# A job is begun when this many times the time that its batch is thought to take is left.
_CAUTION = 2.0


class Supervisor:
    """Takes batches out of the room for one worker; belongs to the event loop.

    A job whose worker is lost goes back to the front of the room, once, and then travels alone: so one that
    kills workers fails by itself, and its neighbours are answered.
    """

    def __init__(
        self, worker: Worker, room: WaitingRoom, metrics: Metrics, batch_timeout_seconds: float
    ) -> None:
        self._worker = worker
        self._room = room
        self._metrics = metrics
        self._batch_timeout_seconds = batch_timeout_seconds
        self._turn = asyncio.Lock()
        self.is_up = False
        self._speeds: defaultdict[tuple[str, str], Speed] = defaultdict(Speed)
        self.described: asyncio.Future[Mapping[str, TokenizerInfo]] = asyncio.Future()
        """Done when the first start is, with the tokenizers by source; holds what went wrong if it failed."""

    async def serve(self) -> None:
        """Work until it is cancelled, or the first start fails."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._start()
                pause = _FIRST_PAUSE_SECONDS
                await self._work()
            except Exception as error:
                if not self.described.done():
                    self.described.set_exception(_as_failure(error))
                    return
                self._metrics.worker_losses.inc()
                expected = isinstance(error, WorkerLost | VistokError)
                logger.error("a worker is started again: %s", error, exc_info=not expected)
            finally:
                self.is_up = False
                await self._worker.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def change(self, sources: list[str]) -> Mapping[str, TokenizerInfo]:
        """Have the worker serve the tokenizers of these sources, between two batches; give them by source.

        Raises INVALID_REQUEST when it cannot load them, NOT_READY when it is lost or being started.
        """
        async with self._turn:
            if not self.is_up:
                raise _not_now()
            try:
                return await self._worker.change(sources)
            except WorkerLost:
                raise _not_now() from None

    async def _start(self) -> None:
        described = await self._worker.start()
        self._worker.lost.add_done_callback(lambda _: self._room.wake())
        self.is_up = True
        if not self.described.done():
            self.described.set_result(described)

    async def _work(self) -> NoReturn:
        while True:
            await self._until_there_are_jobs()
            async with self._turn:
                if jobs := self._in_time(self._room.take()):
                    await self._do(jobs)

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
        batch = Batch(jobs[0].tokenizer, [job.order for job in jobs])
        start = time.monotonic()
        tracing.enter_device(jobs)
        try:
            async with asyncio.timeout(self._batch_timeout_seconds):
                outcomes = await self._worker.run(batch)
        except Exception as error:
            self._put_back(jobs)
            tracing.lose_worker(jobs)
            if isinstance(error, TimeoutError):
                raise WorkerLost("a worker did not answer in time") from None
            raise
        tracing.leave(jobs)
        pixels, seconds = _pixels_of(jobs), time.monotonic() - start
        self._speeds[jobs[0].kind].learn(pixels, seconds)
        self._metrics.count_batch(jobs, start, seconds, pixels, pixels / self._room.max_batch_pixels)
        self._answer(jobs, outcomes)

    async def _until_there_are_jobs(self) -> None:
        """Wait for work; WorkerLost when the worker is lost before there is any."""
        while not self._worker.lost.done():
            if len(self._room):
                return
            await self._room.changed()
        raise WorkerLost("a worker that had nothing to do has ended")

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

    def _put_back(self, jobs: list[Job]) -> None:
        wanted = [job for job in jobs if not job.result.done()]
        for job in wanted:
            if job.has_lost_a_worker:
                job.result.set_exception(
                    VistokError(ErrorCode.INTERNAL, f"two workers were lost at this {job.order.operation}")
                )
            job.has_lost_a_worker = True
        self._room.put_back(job for job in wanted if not job.result.done())


def _pixels_of(jobs: list[Job]) -> int:
    return sum(job.pixels for job in jobs)


def _not_now() -> VistokError:
    return VistokError(ErrorCode.NOT_READY, "a worker is being started again: try later")


def _as_failure(error: Exception) -> VistokError:
    if isinstance(error, VistokError):
        return error
    return VistokError(ErrorCode.NOT_READY, f"{error} while the tokenizers were loaded: see the log")
