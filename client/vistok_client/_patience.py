"""How long is waited for a service to which is sent while it answers."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


class Patience:
    """A time that begins anew whenever something moves, in whichever direction."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._allowed = seconds
        self._timer: asyncio.Timeout | None = None

    async def wait(self, result: Awaitable[Result]) -> Result:
        """Wait for a result; TimeoutError when nothing moves for too long."""
        try:
            async with asyncio.timeout(self._allowed) as self._timer:
                return await result
        finally:
            self._timer = None

    def renew(self) -> None:
        """Begin anew: something has moved."""
        self._allow(self._seconds)

    def pause(self) -> None:
        """Let it stand still: it is not the service that is waited for."""
        self._allow(None)

    def lose(self) -> None:
        """End it: nothing will come any more."""
        self._allow(0)

    def _allow(self, seconds: float | None) -> None:
        self._allowed = seconds
        if self._timer is not None and not self._timer.expired():
            end = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self._timer.reschedule(end)
