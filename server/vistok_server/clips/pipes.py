"""A child's pipes, seen from the event loop: nothing is kept between the kernel's buffer and who asks.

So back-pressure needs no bookkeeping, a frame is received where it will lie, and a pipe is closed when
`close` returns. Transports of asyncio would collect what comes, and close some time later.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import IO

# What a process may have without privileges: more than a frame of most clips. Pipes begin with 2**16.
_LARGE = 2**20


class _Pipe:
    """One end of a pipe; one task at a time waits for it."""

    def __init__(self, file: IO[bytes], large: bool) -> None:
        """Take over `file`, unbuffered."""
        self._file = file
        self._descriptor = file.fileno()
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        os.set_blocking(self._descriptor, False)
        if large and hasattr(fcntl, "F_SETPIPE_SZ"):
            # Refused to a user of very many pipes, who gets by with smaller ones.
            with suppress(OSError):
                fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _LARGE)

    def close(self) -> None:
        """Close it, and wake who waits for it; more than once does nothing."""
        if not self._file.closed:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._file.close()
            self._wake()

    async def _ready(self, watch: Callable[..., None], unwatch: Callable[[int], object]) -> None:
        """Wait until the kernel says that there is more, or room; or until it is closed."""
        self._waiting = self._loop.create_future()
        watch(self._descriptor, self._wake)
        try:
            await self._waiting
        finally:
            if not self._file.closed:
                unwatch(self._descriptor)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class InputPipe(_Pipe):
    """The way into a child.

    Attributes:
        unwanted: done when nobody will read what is written: the child has ended, or this end is closed.
    """

    def __init__(self, file: IO[bytes], large: bool = False) -> None:
        super().__init__(file, large)
        self.unwanted: asyncio.Future[None] = self._loop.create_future()
        # There is nothing to read at this end: all that can be said of it is that the other one is closed.
        self._loop.add_reader(self._descriptor, self._end)

    async def write(self, data: bytes | memoryview) -> None:
        """Write all of `data`, waiting while the pipe is full; BrokenPipeError when it is unwanted.

        When this is cancelled, a part of it has been written.
        """
        rest = memoryview(data)
        while len(rest):
            if self._file.closed:
                raise BrokenPipeError("this end of the pipe is closed")
            taken = self._file.write(rest)
            if taken is None:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            else:
                rest = rest[taken:]

    def close(self) -> None:
        """Let the child read the end."""
        super().close()
        self._tell()

    def _end(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._tell()

    def _tell(self) -> None:
        if not self.unwanted.done():
            self.unwanted.set_result(None)


class OutputPipe(_Pipe):
    """The way out of a child."""

    def __init__(self, file: IO[bytes], large: bool = False) -> None:
        super().__init__(file, large)

    async def read(self, count: int) -> bytes:
        """Read `count` bytes; fewer where the child has ended, or this end is closed."""
        data = bytearray(count)
        return bytes(data[: await self.read_into(memoryview(data))])

    async def read_into(self, place: memoryview) -> int:
        """Fill `place`, of bytes, and give the number that came; fewer as for `read`."""
        length = len(place)
        while len(place) and not self._file.closed:
            # Of an unbuffered file; its type knows only that it is binary.
            came: int | None = self._file.readinto(place)  # type: ignore[attr-defined]
            if came == 0:
                break
            if came is None:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            else:
                place = place[came:]
        return length - len(place)
