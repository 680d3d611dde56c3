"""One worker kept at work: started, given batches, and started again whenever it is lost."""

import asyncio
import logging
from collections.abc import Mapping

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.dispatch import Dispatcher
from vistok_server.metrics import Metrics
from vistok_server.waiting_room import WaitingRoom
from vistok_server.workers.worker import Worker, WorkerLost

logger = logging.getLogger(__name__)

# Between two starts of a worker that keeps getting lost: doubled each time, from the first to the last.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.25, 30.0


class Supervisor:
    """Owns one worker; belongs to the event loop."""

    def __init__(
        self, worker: Worker, room: WaitingRoom, metrics: Metrics, batch_timeout_seconds: float
    ) -> None:
        self._worker = worker
        self._room = room
        self._metrics = metrics
        self._dispatcher = Dispatcher(worker, room, metrics, batch_timeout_seconds)
        self.described: asyncio.Future[Mapping[str, TokenizerInfo]] = asyncio.Future()
        """Done when the first start is, with the tokenizers by source; holds what went wrong if it failed."""

    @property
    def is_up(self) -> bool:
        """Whether the worker takes batches."""
        return self._dispatcher.is_open

    async def serve(self) -> None:
        """Work until it is cancelled, or the first start fails."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._start()
                pause = _FIRST_PAUSE_SECONDS
                await self._dispatcher.work()
            except Exception as error:
                if not self.described.done():
                    self.described.set_exception(_as_failure(error))
                    return
                self._metrics.worker_losses.inc()
                expected = isinstance(error, WorkerLost | VistokError)
                logger.error("a worker is started again: %s", error, exc_info=not expected)
            finally:
                await self._worker.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def change(self, sources: list[str]) -> Mapping[str, TokenizerInfo]:
        """Have the worker serve the tokenizers of these sources, between two batches; give them by source.

        Raises INVALID_REQUEST when it cannot load them, NOT_READY when it is lost or being started.
        """
        async with self._dispatcher.paused():
            if not self.is_up:
                raise _not_now()
            try:
                return await self._worker.change(sources)
            except WorkerLost:
                raise _not_now() from None

    async def _start(self) -> None:
        described = await self._worker.start()
        self._worker.lost.add_done_callback(lambda _: self._room.wake())
        if not self.described.done():
            self.described.set_result(described)


def _not_now() -> VistokError:
    return VistokError(ErrorCode.NOT_READY, "a worker is being started again: try later")


def _as_failure(error: Exception) -> VistokError:
    if isinstance(error, VistokError):
        return error
    return VistokError(ErrorCode.NOT_READY, f"{error} while the tokenizers were loaded: see the log")
