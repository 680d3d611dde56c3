"""Admit or refuse work, put it in the queue, and wait for the worker's result."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TypeVar

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server import tracing
from vistok_server.byte_budget import ByteBudget
from vistok_server.jobs import Job, Sender
from vistok_server.keys import KeyRing
from vistok_server.metrics import Metrics
from vistok_server.orders import Order, Result
from vistok_server.pace import Pace
from vistok_server.places import Places
from vistok_server.rates import Rates
from vistok_server.served import Served
from vistok_server.settings import Settings
from vistok_server.supervision import Supervisor
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.worker import Worker

Value = TypeVar("Value")

# That read and write large JSON and arrays; media are the workers' business.
_THREADS = 2


class Engine:
    """Everything between the routes and the workers; belongs to the event loop."""

    def __init__(self, settings: Settings, workers: Sequence[Worker]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._room = WaitingRoom(settings.max_batch_pixels, settings.max_wait_ms / 1000, len(workers))
        self._supervisors = [
            Supervisor(worker, self._room, self.metrics, settings.batch_timeout_seconds) for worker in workers
        ]
        self._unfinished: set[Job] = set()
        self._working: list[asyncio.Task[None]] = []
        self._loading: asyncio.Task[None]
        self._change: asyncio.Task[Mapping[str, TokenizerInfo]]  # kept, since the loop forgets tasks
        self.served = Served(self._supervisors)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="vistok-bodies")
        self._thread_places = asyncio.Semaphore(_THREADS)
        self.bodies = ByteBudget(settings.max_waiting_bytes)
        self._uploads: set[asyncio.Timeout] = set()
        self._places = Places(settings.max_queue, settings.max_items_per_caller)
        self._clips = Places(settings.max_clips, None)
        self._pace = Pace()
        self.keys = KeyRing(settings.api_keys)
        self.admin_keys = KeyRing(settings.admin_keys)
        self.rates = Rates(settings.calls_per_second)
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        self.metrics.watch("vistok_items", "Pictures and grids in the house.", lambda: self.in_house)
        self.metrics.watch("vistok_jobs_waiting", "Jobs that wait for a worker.", lambda: self.waiting)
        self.metrics.watch(
            "vistok_workers_up", "Workers that take batches.", lambda: sum(s.is_up for s in self._supervisors)
        )

    @property
    def in_house(self) -> int:
        """The number of items that were admitted and are not yet answered."""
        return self._places.taken

    @property
    def retry_after_seconds(self) -> int:
        """When half of what is in the house has left, at the present pace; a minute while nothing leaves."""
        return self._pace.seconds_for(self.in_house // 2)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for the worker."""
        return len(self._room)

    def start(self) -> None:
        """Begin to load the tokenizers; returns at once."""
        self._working = [asyncio.create_task(supervisor.serve()) for supervisor in self._supervisors]
        self._loading = asyncio.create_task(self.served.wait_for_first())

    def take_no_more(self) -> None:
        """Refuse new work, and end the calls whose body has not come whole; what came whole is finished."""
        self._stopping = True
        while self._uploads:
            self._uploads.pop().reschedule(0)

    def drop(self) -> None:
        """Give up what workers have not finished: its callers get NOT_READY."""
        for job in self._unfinished:
            if not job.result.done():
                job.result.set_exception(
                    VistokError(ErrorCode.NOT_READY, "the service stopped before this was done")
                )

    async def stop(self) -> None:
        """Take nothing more, finish everything that was admitted, and end workers and threads."""
        self.take_no_more()
        await self._empty.wait()
        # What workers may still do, nobody waits for: a batch whose callers have left, a start.
        for task in (*self._working, self._loading):
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    def tokenizers(self) -> Mapping[str, TokenizerInfo]:
        """Describe what is served, by name; NOT_READY while loading or stopping, or if that failed."""
        if self._stopping:
            raise _stopping()
        return self.served.by_name()

    def tokenizer(self, name: str) -> TokenizerInfo:
        """Give one tokenizer by its name, or TOKENIZER_NOT_FOUND, or NOT_READY."""
        if self._stopping:
            raise _stopping()
        return self.served.named(name)

    def check_ready(self) -> Mapping[str, TokenizerInfo]:
        """Give all, but also NOT_READY while every worker is being replaced."""
        served = self.tokenizers()
        if not any(supervisor.is_up for supervisor in self._supervisors):
            raise VistokError(ErrorCode.NOT_READY, "the workers are being started again")
        return served

    async def change(self, sources: Sequence[str]) -> Mapping[str, TokenizerInfo]:
        """Serve the tokenizers of these sources from now on; give them by name. Errors: `Served.change`.

        A change that has begun is ended, whether or not somebody waits for it.
        """
        self._change = asyncio.create_task(self.served.change(sources, self._finish))
        return await asyncio.shield(self._change)

    async def _finish(self, tokenizers: set[str]) -> None:
        """Wait until no job of these tokenizers is left."""
        results = [job.result for job in self._unfinished if job.tokenizer in tokenizers]
        if results:
            await asyncio.wait(results)

    @contextmanager
    def admit(self, sender: Sender, items: int = 1) -> Iterator[None]:
        """Hold places for this many items, or refuse with OVERLOADED; items count, not calls."""
        self._empty.clear()
        try:
            with self._places.hold(sender.identity, items):
                yield
                self._pace.add(items)
        finally:
            if not self._places.taken:
                self._empty.set()

    def admit_clip(self, sender: Sender) -> AbstractContextManager[None]:
        """Hold one of the places for clips, or refuse with OVERLOADED: each has a process that decodes it."""
        return self._clips.hold(sender.identity, 1)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[None]:
        """Surround the reading of a body: NOT_READY as soon as the service stops."""
        if self._stopping:
            raise _stopping()
        try:
            async with asyncio.timeout(None) as patience:
                self._uploads.add(patience)
                try:
                    yield
                finally:
                    self._uploads.discard(patience)
        except TimeoutError:
            raise _stopping() from None

    async def off_loop(self, function: Callable[..., Value], *arguments: object) -> Value:
        """Run a function that takes its time on a thread; skipped if the caller leaves before.

        A thread cannot be interrupted. A caller who leaves while it works is waited for, so that what the
        thread holds stays counted until it lets go.
        """
        async with self._thread_places:  # no more than there are threads: nothing waits out of sight
            running = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise

    async def run(
        self, sender: Sender, tokenizer: str, order: Order, shape: tuple[int, ...], pixels: int
    ) -> Result:
        """Have a worker do an order, whose pixels have this shape; OVERLOADED when too many wait.

        When the waiting task is cancelled, a job that has not begun is forgotten and never run.
        """
        self.served.named(tokenizer)  # which may have gone while the body came
        if self._room.pixels and self._room.pixels + pixels > self.settings.max_waiting_pixels:
            raise VistokError(
                ErrorCode.OVERLOADED,
                f"{self._room.pixels} of {self.settings.max_waiting_pixels} pixels wait, {pixels} more came",
            )
        result = asyncio.get_running_loop().create_future()
        job = Job(sender, tokenizer, order, shape, pixels, result)
        self._unfinished.add(job)
        self._room.put(job)
        tracing.enter_queue(job)
        try:
            return await job.result
        except asyncio.CancelledError:
            self._room.withdraw(job)
            if job.give_up:
                job.give_up()
            raise
        finally:
            self._unfinished.discard(job)
            tracing.leave((job,))


def _stopping() -> VistokError:
    return VistokError(ErrorCode.NOT_READY, "the service is stopping and takes no more work")
