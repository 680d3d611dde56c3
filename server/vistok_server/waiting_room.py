"""Where jobs wait between the event loop, which puts them in, and the worker, which takes batches out."""

import threading
from collections import deque
from contextlib import suppress

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.batching import take_batch
from vistok_server.jobs import Job


class WaitingRoom:
    """A thread-safe queue of jobs that gives batches.

    An idle worker takes what is there at once, and while it works the next batch gathers: batches grow
    with the load by themselves, and no job ever waits for company.
    """

    def __init__(self, max_batch_pixels: int) -> None:
        self._max_batch_pixels = max_batch_pixels
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """Give the number of jobs that wait."""
        with self._changed:
            return len(self._jobs)

    def put(self, job: Job) -> None:
        """Add a job at the end; NOT_READY after `close`."""
        with self._changed:
            if self._closed:
                raise VistokError(ErrorCode.NOT_READY, "the service is stopping and takes no more work")
            self._jobs.append(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> None:
        """Take a job out again, with all it holds; nothing happens when it does not wait any more."""
        with self._changed, suppress(ValueError):
            self._jobs.remove(job)

    def take(self) -> list[Job]:
        """Wait for jobs and return the next batch; an empty one says that the room is closed and empty.

        Every job returned is marked as running; those whose caller has left are dropped.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                batch = take_batch(self._jobs, self._max_batch_pixels)
            if not batch:
                return []
            if wanted := [job for job in batch if job.result.set_running_or_notify_cancel()]:
                return wanted

    def close(self) -> None:
        """Accept no more jobs; those that wait are still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def halve_batches(self, failed_pixels: int) -> None:
        """Answer the device running out of memory at `failed_pixels`: make smaller batches from now on."""
        with self._changed:
            self._max_batch_pixels = max(1, min(self._max_batch_pixels, failed_pixels) // 2)
