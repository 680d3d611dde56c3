"""The child process of one clip, seen from the service: started, listened to, killed."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.clips.messages import (
    FRAME,
    LENGTH,
    MESSAGE,
    OBJECTS,
    PIECE,
    Failed,
    Message,
    ReadRequest,
    WriteRequest,
)
from vistok_server.clips.pipes import InputPipe, OutputPipe

logger = logging.getLogger(__name__)

# Nothing in the child multiplies matrices: threads for that would cost its start time and address space.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Of a message that is no frame. A child whose memory a clip has overwritten may say anything.
_LONGEST_MESSAGE = 2**24
# What a child that has closed its pipe gets to end by itself, so that its status tells why.
_PARTING_SECONDS = 1.0
# What it is when a child is lost: reading, the clip is to blame; what we write is our own.
_LOST = {
    "read": (ErrorCode.UNREADABLE_MEDIA, "the clip is damaged: it brought its decoder down"),
    "write": (ErrorCode.INTERNAL, "the process that writes the clip has ended"),
}


class ClipProcess:
    """A child that reads or writes one clip; see `child.py`.

    Attributes:
        input: what goes to it.
        process_id: its number.
    """

    def __init__(self, request: ReadRequest | WriteRequest) -> None:
        """Start the child; the pipe on which frames go, into it or out of it, is a large one."""
        work = "read" if isinstance(request, ReadRequest) else "write"
        # Not asyncio's: a start that is cancelled must not forget its child.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vistok_server.clips.child", work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **_ENVIRONMENT},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.process_id = self._process.pid
        self.input = InputPipe(self._process.stdin, large=work == "write")
        self._output = OutputPipe(self._process.stdout, large=work == "read")
        self._work = work
        self._request = request.to_json()

    async def ask(self) -> None:
        """Send what is wanted."""
        with suppress(BrokenPipeError):
            await self.input.write(LENGTH.pack(len(self._request)) + self._request)

    async def message(self, frame: memoryview | None = None) -> Message | bytes | None:
        """Give what the child says next: an object, encoded bytes, or None when it has filled `frame`.

        Raises:
            VistokError: what the child failed with; UNREADABLE_MEDIA or INTERNAL when it was lost.
        """
        try:
            message = await self._next(frame)
        except (EOFError, ValueError, TypeError, LookupError):
            raise await self.lost() from None
        if isinstance(message, Failed):
            raise message.error
        return message

    async def lost(self) -> VistokError:
        """Log how a child ended that was not done, or speaks nonsense, and give the error that this is."""
        with suppress(subprocess.TimeoutExpired):
            # It closes its pipes a moment before it has ended.
            await asyncio.to_thread(self._process.wait, _PARTING_SECONDS)
        self._process.kill()
        status = await self._reaped()
        logger.warning("clip process %d (%s) ended with status %d", self.process_id, self._work, status)
        return VistokError(*_LOST[self._work])

    async def end(self) -> None:
        """Kill the child, close its pipes, and wait until nothing of it is left."""
        self._process.kill()
        self.input.close()
        self._output.close()
        await self._reaped()

    async def _next(self, frame: memoryview | None) -> Message | bytes | None:
        """Receive a message; EOFError where there is none, and what a message raises that is nonsense."""
        length, kind = MESSAGE.unpack(await self._exactly(MESSAGE.size))
        if kind == FRAME:
            if frame is None or length != len(frame):
                raise ValueError("a frame of another size")
            if await self._output.read_into(frame) < length:
                raise EOFError
            return None
        if length > _LONGEST_MESSAGE:
            raise ValueError("a message without end")
        body = await self._exactly(length)
        return body if kind == PIECE else OBJECTS[kind].from_json(body)

    async def _exactly(self, count: int) -> bytes:
        data = await self._output.read(count)
        if len(data) < count:
            raise EOFError
        return data

    async def _reaped(self) -> int:
        waiting = asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        # Whoever is cancelled here, a thread does wait for the child.
        return await asyncio.shield(waiting)


@asynccontextmanager
async def clip_process(request: ReadRequest | WriteRequest) -> AsyncIterator[ClipProcess]:
    """Start a child and tell it what is wanted; it is gone when the context is left, whatever happens."""
    process = ClipProcess(request)
    try:
        await process.ask()
        yield process
    finally:
        await process.end()
