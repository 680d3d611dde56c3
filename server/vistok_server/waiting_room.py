"""Where jobs wait between the engine, which puts them in, and the workers, which take batches out."""

import asyncio
import math
from collections.abc import Iterable
from contextlib import suppress

from vistok_server.batching import FairQueue
from vistok_server.jobs import Job


class WaitingRoom:
    """A queue of jobs that gives batches; belongs to the event loop.

    An idle worker takes what is there at once, and while all work the next batch gathers: batches grow with
    the load by themselves. It leaves for a worker that is still busy when it is full, or when its first job
    has waited for some time: so the worker has it at hand when it needs it.
    """

    def __init__(self, max_batch_pixels: int, max_wait_seconds: float, workers: int = 1) -> None:
        self.max_batch_pixels = max_batch_pixels
        self.max_wait_seconds = max_wait_seconds
        self._workers = workers
        self._jobs = FairQueue[Job]()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Give the number of jobs that wait."""
        return len(self._jobs)

    @property
    def pixels(self) -> int:
        """The pixels of the jobs that wait."""
        return self._jobs.pixels

    def seconds_until_due(self, now: float) -> float:
        """Tell when the next batch leaves for a worker that is busy.

        Never, if there is none, or if it is a job that has to travel alone.
        """
        first = self._jobs.first
        if first is None or first.has_lost_a_worker:
            return math.inf
        if self.pixels >= self._workers * self.max_batch_pixels:
            return 0.0
        return first.arrived + self.max_wait_seconds - now

    def put(self, job: Job) -> None:
        """Add a job at the end of its flow."""
        self._jobs.put(job)
        self._changed.set()

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Return jobs that a worker has not finished: they go first."""
        self._jobs.put_back(jobs)
        self._changed.set()

    def withdraw(self, job: Job) -> None:
        """Take a job out again, with all it holds; nothing happens when it does not wait any more."""
        self._jobs.remove(job)

    def take(self) -> list[Job]:
        """Return the next batch; nothing when no job waits.

        Where there are several workers, none takes more than its share of what waits, since the others will
        soon be idle.
        """
        share = -(-self.pixels // self._workers)
        return self._jobs.take(min(self.max_batch_pixels, share))

    async def changed(self, within: float = math.inf) -> None:
        """Wait until there are more jobs, or somebody wakes all who wait, or so many seconds are over."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(within) else within):
                await self._changed.wait()

    def wake(self) -> None:
        """Have everybody who waits look again."""
        self._changed.set()

    def halve_batches(self, failed_pixels: int) -> None:
        """Answer the device running out of memory at `failed_pixels`: make smaller batches from now on."""
        self.max_batch_pixels = max(1, min(self.max_batch_pixels, failed_pixels) // 2)
