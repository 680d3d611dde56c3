"""A worker on threads of this process, around tokenizers that are at hand."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.settings import Settings
from vistok_server.workers.execution import Executor
from vistok_server.workers.worker import Batch, Outcomes


class InProcessWorker:
    """For applications that bring their tokenizers; it cannot be lost without the whole process."""

    lanes = 2

    def __init__(self, tokenizers: Mapping[str, VisualTokenizer], settings: Settings) -> None:
        self._tokenizers = tokenizers
        self._executor = Executor(tokenizers, settings, settings.media_threads or 1)
        self._forgotten: dict[Batch, set[int]] = {}
        self._threads = ThreadPoolExecutor(self.lanes, thread_name_prefix="vistok-worker")

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Describe the tokenizers."""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._describe)

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch on a thread."""
        forgotten: set[int] = set()
        self._forgotten[batch] = forgotten
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._executor.execute, batch, forgotten.__contains__
            )
        finally:
            del self._forgotten[batch]

    def forget(self, batch: Batch, index: int) -> None:
        """Have an order left undone, if that is still possible."""
        self._forgotten[batch].add(index)

    async def change(self, _: list[str]) -> Mapping[str, TokenizerInfo]:
        """Refuse: what an application has brought stays."""
        raise VistokError(ErrorCode.INVALID_REQUEST, "this application serves tokenizers of its own")

    async def stop(self) -> None:
        """Wait for the threads to end."""
        await asyncio.to_thread(self._threads.shutdown)

    def _describe(self) -> dict[str, TokenizerInfo]:
        return {name: tokenizer.describe() for name, tokenizer in self._tokenizers.items()}
