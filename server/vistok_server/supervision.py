"""One worker kept at work: batches in, results out, and a new start whenever it is lost."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import NoReturn

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.jobs import Job
from vistok_server.metrics import Metrics
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.worker import Batch, Outcomes, Worker, WorkerLost

logger = logging.getLogger(__name__)

# Between two starts of a worker that keeps getting lost: doubled each time, from the first to the last.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.25, 30.0


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
        self.is_up = False
        self.described: asyncio.Future[Mapping[str, TokenizerInfo]] = asyncio.Future()
        """Done when the first start is; holds what went wrong if it failed."""

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
                expected = isinstance(error, WorkerLost | VistokError)
                logger.error("a worker is started again: %s", error, exc_info=not expected)
            finally:
                self.is_up = False
                await self._worker.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _start(self) -> None:
        described = await self._worker.start()
        self.is_up = True
        if not self.described.done():
            self.described.set_result(described)

    async def _work(self) -> NoReturn:
        while True:
            jobs = await self._room.take()
            batch = Batch(jobs[0].tokenizer, jobs[0].operation, [job.array for job in jobs])
            start = time.monotonic()
            try:
                outcomes = await asyncio.wait_for(self._worker.run(batch), self._batch_timeout_seconds)
            except Exception as error:
                self._metrics.worker_losses.inc()
                self._put_back(jobs)
                if isinstance(error, TimeoutError):
                    raise WorkerLost("a worker did not answer in time") from None
                raise
            self._count(jobs, start)
            self._answer(jobs, outcomes)

    def _count(self, jobs: list[Job], start: float) -> None:
        labels = jobs[0].tokenizer, jobs[0].operation.value
        pixels = sum(job.pixels for job in jobs)
        for job in jobs:
            self._metrics.queue_seconds.labels(*labels).observe(start - job.arrived)
        self._metrics.device_seconds.labels(*labels).observe(time.monotonic() - start)
        self._metrics.batch_jobs.labels(*labels).observe(len(jobs))
        self._metrics.batch_fill.labels(*labels).observe(pixels / self._room.max_batch_pixels)
        self._metrics.pixels.labels(*labels).inc(pixels)

    def _answer(self, jobs: list[Job], outcomes: Outcomes) -> None:
        for job, result in zip(jobs, outcomes.results, strict=True):
            if job.result.done():
                continue  # its caller has left
            if isinstance(result, VistokError):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)
        if outcomes.too_many_items is not None:
            pixels_of_one = jobs[0].pixels // len(jobs[0].array)
            self._room.halve_batches(outcomes.too_many_items * pixels_of_one)

    def _put_back(self, jobs: list[Job]) -> None:
        wanted = [job for job in jobs if not job.result.done()]
        for job in wanted:
            if job.has_lost_a_worker:
                job.result.set_exception(
                    VistokError(ErrorCode.INTERNAL, f"two workers were lost at this {job.operation}")
                )
            job.has_lost_a_worker = True
        self._room.put_back(job for job in wanted if not job.result.done())


def _as_failure(error: Exception) -> VistokError:
    if isinstance(error, VistokError):
        return error
    return VistokError(ErrorCode.NOT_READY, f"{error} while the tokenizers were loaded: see the log")
