"""How many pixels may be in the house as pictures at once: a queue of small bodies can hold much memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PixelBudget:
    """Pixels, taken before a picture is made and given back when it is gone; first come, first served.

    Belongs to the event loop. Nobody may wait for pixels while holding some: that is how all could wait
    for each other.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._turn = asyncio.Lock()  # its queue is the order of coming, so a large picture is not overtaken
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait for so many pixels and hold them; who wants more than there are takes all, and is alone."""
        share = min(pixels, self._all)
        async with self._turn:
            while self._free < share:
                self._given_back.clear()
                await self._given_back.wait()
            self._free -= share
        try:
            yield
        finally:
            self._free += share
            self._given_back.set()
