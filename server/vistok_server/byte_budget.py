"""How many bytes of bodies may be in the house at once: many slow uploads are as bad as one endless one."""

from collections.abc import Iterator
from contextlib import contextmanager

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.bodies import Count


class ByteBudget:
    """Bytes, counted as they come in and until their call is answered; belongs to the event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0

    @contextmanager
    def holding(self) -> Iterator[Count]:
        """Give what counts the body of one call, and raises OVERLOADED; all is given back at the end."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if self._held + count > self._size:
                raise VistokError(
                    ErrorCode.OVERLOADED,
                    f"{self._held} of {self._size} bytes of bodies are taken, {count} more have come",
                )
            self._held += count
            held += count

        try:
            yield take
        finally:
            self._held -= held
