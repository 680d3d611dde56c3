"""A worker in a process of its own, seen from the service."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.settings import Settings
from vistok_server.workers.lane import Lane
from vistok_server.workers.placement import Placement
from vistok_server.workers.worker import Batch, Outcomes

logger = logging.getLogger(__name__)

# Torch's threads would otherwise spin while they wait, on cores that decode and answer meanwhile.
_PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
# What it gets to end by itself once nothing more is asked of it.
_PARTING_SECONDS = 5.0


class ProcessWorker:
    """Owns a device, or a share of the processor, through a child process; see `child.py`."""

    def __init__(self, settings: Settings, placement: Placement) -> None:
        self.lanes = placement.lanes
        self._settings = settings
        self._placement = placement
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: list[Lane] = []
        self._free: list[Lane] = []
        self._running: dict[Batch, Lane] = {}

    @property
    def process_id(self) -> int | None:
        """The child's, while there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Start the child and wait until it is ready; VistokError when it cannot load, WorkerLost."""
        self._opened = [Lane() for _ in range(self.lanes)]
        shared = [descriptor for lane in self._opened for descriptor in lane.descriptors]
        arguments = [*self._placement.to_arguments(), *map(str, shared)]
        # Not asyncio's: a start that is cancelled must not forget its child.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vistok_server.workers.child", *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=shared,
            env={**_PATIENT_THREADS, **os.environ},
        )
        self.lost, *_ = [await lane.open() for lane in self._opened]
        self._free = [*self._opened]
        return await self._load(self._settings)

    async def change(self, sources: list[str]) -> Mapping[str, TokenizerInfo]:
        """Have the child load and let go; whatever child comes after it has the same."""
        settings = self._settings.model_copy(update={"tokenizers": tuple(sources)})
        described = await self._load(settings)
        self._settings = settings
        return described

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost when the child has ended."""
        self._running[batch] = lane = self._free.pop()
        try:
            outcomes = await lane.run(batch)
        finally:
            del self._running[batch]
        self._free.append(lane)  # but not one that still owes an answer
        return outcomes

    def forget(self, batch: Batch, index: int) -> None:
        """Have an order left undone, if that is still possible."""
        self._running[batch].forget(index)

    async def stop(self) -> None:
        """Let the child end; kill it when it does not, and at once when it still owes an answer."""
        process, self._process = self._process, None
        if process is None:
            return
        is_busy = any(lane.owes_an_answer for lane in self._opened)
        for lane in self._opened:
            lane.close()
        if not is_busy:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, _PARTING_SECONDS)
        process.kill()
        status = await asyncio.to_thread(process.wait)
        if status:
            logger.warning("worker process %d ended with status %d", process.pid, status)

    async def _load(self, settings: Settings) -> Mapping[str, TokenizerInfo]:
        ready = await self._opened[0].load(settings)
        if ready.failed is not None:
            raise ready.failed.error
        assert ready.tokenizers is not None
        return ready.tokenizers
