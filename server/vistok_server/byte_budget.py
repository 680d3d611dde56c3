"""How many bytes of bodies may be in the house at once: many slow uploads are as bad as one endless one."""

from collections.abc import Iterator
from contextlib import contextmanager

from vistok_protocol.errors import ErrorCode, VistokError


class ByteBudget:
    """Bytes, counted as they come in and until their call is answered; belongs to the event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0

    @contextmanager
    def holding(self) -> Iterator["Holding"]:
        """Begin to count the body of one call; what it holds is given back at the end."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            self._held -= holding.count

    def take(self, count: int) -> None:
        """Count so many more, or refuse them with OVERLOADED."""
        if self._held + count > self._size:
            raise VistokError(
                ErrorCode.OVERLOADED,
                f"{self._held} of {self._size} bytes of bodies are taken, {count} more have come",
            )
        self._held += count


class Holding:
    """What one call holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.count = 0

    def take(self, count: int) -> None:
        """Count so many more bytes of this call; OVERLOADED."""
        self._budget.take(count)
        self.count += count
