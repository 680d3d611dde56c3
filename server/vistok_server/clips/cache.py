"""Clips that are made before they are answered with: once for all who wait, and kept for who comes later.

That is what a `Range` of a clip takes, since its bytes are not known before they are made.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, aclosing
from pathlib import Path
from typing import Any

from vistok_server.bounded_folder import BoundedFolder, NewFile

logger = logging.getLogger(__name__)

OffLoop = Callable[..., Awaitable[Any]]
"""Runs a function on a thread, as `Engine.off_loop` does."""
Make = Callable[[], AsyncGenerator[bytes]]
"""Begins to make a clip: gives its bytes as they are made."""
_Tell = Callable[[], None]


class ClipCache:
    """Encoded clips by names of hexadecimal digits; belongs to the event loop."""

    def __init__(self, folder: BoundedFolder, off_loop: OffLoop) -> None:
        self._folder = folder
        self._off_loop = off_loop
        self._making: dict[str, _Making] = {}
        self._too_large: set[str] = set()

    def holding(self, name: str) -> AbstractContextManager[None]:
        """Let a clip stay that is found meanwhile."""
        return self._folder.holding(name)

    async def find(self, name: str) -> Path | None:
        """Give the file of a clip that is there."""
        return await self._off_loop(self._folder.find, name)

    async def made(self, name: str, make: Make) -> AsyncGenerator[None]:
        """Wait until a clip is made, step by step; it is not found afterwards when there is no room for it.

        Who asks while it is made waits with the others. When nobody waits any more, the making ends.

        Raises:
            VistokError: what `make` raises.
        """
        if name in self._too_large:
            return
        if name not in self._making:
            self._making[name] = _Making(lambda tell: self._make(name, make, tell))
        making = self._making[name]
        making.waiting += 1
        try:
            async for _ in making.steps():
                yield
        finally:
            making.waiting -= 1
            if not making.waiting:
                del self._making[name]
                await making.end()

    async def _make(self, name: str, make: Make, tell: _Tell) -> None:
        file = NewFile(self._folder, name)
        try:
            async with aclosing(make()) as pieces:
                async for piece in pieces:
                    await self._off_loop(file.write, piece)
                    tell()
            await self._off_loop(file.keep)
        except OSError as error:
            logger.warning("a clip of %d bytes or more is not kept: %s", file.size, error)
            if file.size > self._folder.max_bytes:
                self._too_large.add(name)
        finally:
            await self._off_loop(file.discard)


class _Making:
    """A clip that is being made.

    Attributes:
        waiting: how many wait for it.
    """

    def __init__(self, make: Callable[[_Tell], Coroutine[Any, Any, None]]) -> None:
        self.waiting = 0
        self._step = asyncio.Event()
        self._task = asyncio.create_task(make(self._tell))
        self._task.add_done_callback(lambda _: self._tell())

    async def steps(self) -> AsyncGenerator[None]:
        """Wait for the end, and tell of each step to it; raises what the making raises."""
        while not self._task.done():
            await self._step.wait()
            yield
        self._task.result()

    async def end(self) -> None:
        """Give it up if it is not done."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _tell(self) -> None:
        self._step.set()
        self._step = asyncio.Event()
