"""A worker in a process of its own, seen from the service."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.settings import Settings
from vistok_server.workers.messages import LENGTH, Done, Ready, Task
from vistok_server.workers.shared_memory import SharedMemory
from vistok_server.workers.worker import Batch, Outcomes, WorkerLost

# Torch's threads would otherwise spin while they wait, on cores that decode and answer meanwhile.
_PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
# What it gets to end by itself once nothing more is asked of it.
_PARTING_SECONDS = 5.0


class ProcessWorker:
    """Owns one device through a child process; see `child.py` for the other side."""

    def __init__(self, settings: Settings, device: str) -> None:
        self._settings = settings
        self._device = device
        self._process: subprocess.Popen[bytes] | None = None
        self._owes_an_answer = False
        self._inputs: SharedMemory
        self._outputs: SharedMemory
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    @property
    def process_id(self) -> int | None:
        """The child's, while there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Start the child and wait until it is ready; VistokError when it cannot load, WorkerLost."""
        ours, its = socket.socketpair()
        self._inputs, self._outputs = SharedMemory(), SharedMemory()
        with its:
            shared = (its.fileno(), self._inputs.descriptor, self._outputs.descriptor)
            command = ["-m", "vistok_server.workers.child", *map(str, shared), self._device]
            # Not asyncio's: a start that is cancelled must not forget its child.
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                pass_fds=shared,
                env={**_PATIENT_THREADS, **os.environ},
            )
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        settings = self._settings.model_dump_json().encode()
        ready = Ready.model_validate_json(await self._ask(LENGTH.pack(len(settings)) + settings))
        if ready.failed is not None:
            raise ready.failed.error
        assert ready.tokenizers is not None
        return ready.tokenizers

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost when the child has ended."""
        self._inputs.write(batch.arrays)
        done = Done.model_validate_json(await self._ask(Task.of(batch).to_frame()))
        # Copies: the memory is the next batch's.
        return done.to_outcomes([array.copy() for array in self._outputs.read(done.kinds)])

    async def stop(self) -> None:
        """Let the child end; kill it when it does not, and at once when it still owes an answer."""
        if self._process is None:
            return
        if self._writer is not None and not self._owes_an_answer:
            self._writer.close()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _PARTING_SECONDS)
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        if self._writer is not None:
            self._writer.close()
        self._inputs.close()
        self._outputs.close()
        self._process = self._writer = None

    async def _ask(self, frame: bytes) -> bytes:
        """Send a frame and give the answer's body."""
        assert self._writer is not None
        self._owes_an_answer = True
        try:
            self._writer.write(frame)
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerLost(f"the worker on {self._device} has ended") from error
        self._owes_an_answer = False
        return body
