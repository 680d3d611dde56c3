"""A worker on a thread of this process, around tokenizers that are at hand."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vistok.tokenizer import VisualTokenizer
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.workers.execution import execute
from vistok_server.workers.worker import Batch, Outcomes


class InProcessWorker:
    """For applications that bring their tokenizers; it cannot be lost without the whole process."""

    def __init__(self, tokenizers: Mapping[str, VisualTokenizer]) -> None:
        self._tokenizers = tokenizers
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vistok-worker")

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Describe the tokenizers."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._describe)

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._execute, batch)

    async def stop(self) -> None:
        """Wait for the thread to end."""
        await asyncio.to_thread(self._thread.shutdown)

    def _describe(self) -> dict[str, TokenizerInfo]:
        return {name: tokenizer.describe() for name, tokenizer in self._tokenizers.items()}

    def _execute(self, batch: Batch) -> Outcomes:
        inputs = np.concatenate(batch.arrays)
        return execute(self._tokenizers[batch.tokenizer], batch.operation, inputs, batch.counts)
