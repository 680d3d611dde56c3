"""A worker in a process of its own, seen from the service."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.settings import Settings
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.conversation import Conversation
from vistok_server.workers.messages import BATCH, SETTINGS, Ready, pack_batch, unpack_outcomes
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
        self._settings = settings
        self._placement = placement
        self._process: subprocess.Popen[bytes] | None = None
        self._conversation: Conversation | None = None
        self._inputs: SharedMemory
        self._outputs: SharedMemory

    @property
    def process_id(self) -> int | None:
        """The child's, while there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Start the child and wait until it is ready; VistokError when it cannot load, WorkerLost."""
        ours, its = socket.socketpair()
        # Copies, of what comes back: the memory is the next batch's.
        self._inputs, self._outputs = SharedMemory(), SharedMemory(copies=True)
        with its:
            shared = (its.fileno(), self._inputs.descriptor, self._outputs.descriptor)
            arguments = [*map(str, shared), *self._placement.to_arguments()]
            # Not asyncio's: a start that is cancelled must not forget its child.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vistok_server.workers.child", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=shared,
                env={**_PATIENT_THREADS, **os.environ},
            )
        loop = asyncio.get_running_loop()
        _, self._conversation = await loop.create_unix_connection(Conversation, sock=ours)
        self.lost = self._conversation.ended
        return await self._load(self._settings)

    async def change(self, sources: list[str]) -> Mapping[str, TokenizerInfo]:
        """Have the child load and let go; whatever child comes after it has the same."""
        settings = self._settings.model_copy(update={"tokenizers": tuple(sources)})
        described = await self._load(settings)
        self._settings = settings
        return described

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost when the child has ended."""
        assert self._conversation is not None
        answer = await self._conversation.ask(BATCH, pack_batch(batch, self._inputs))
        return unpack_outcomes(answer, self._outputs)

    async def stop(self) -> None:
        """Let the child end; kill it when it does not, and at once when it still owes an answer."""
        if self._process is None:
            return
        if self._conversation is not None:
            self._conversation.close()
            if not self._conversation.owes_an_answer:
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(self._process.wait, _PARTING_SECONDS)
        self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        if status:
            logger.warning("worker process %d ended with status %d", self._process.pid, status)
        self._inputs.close()
        self._outputs.close()
        self._process = self._conversation = None

    async def _load(self, settings: Settings) -> Mapping[str, TokenizerInfo]:
        assert self._conversation is not None
        answer = await self._conversation.ask(SETTINGS, settings.model_dump_json().encode())
        ready = Ready.model_validate_json(answer)
        if ready.failed is not None:
            raise ready.failed.error
        assert ready.tokenizers is not None
        return ready.tokenizers
