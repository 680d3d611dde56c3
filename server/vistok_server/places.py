"""How many items may be in the house at once, and that no caller takes all places."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from vistok_protocol.errors import ErrorCode, VistokError

# The share of the places that is kept for callers who hold less than this share themselves.
_KEPT = 8


class Places:
    """Places for items that were admitted and are not yet answered; belongs to the event loop."""

    def __init__(self, count: int, most_of_one: int | None) -> None:
        self._count = count
        self._most_of_one = most_of_one
        self._kept = count // _KEPT
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """The number of items in the house."""
        return self._held.total()

    @contextmanager
    def hold(self, identity: str, items: int) -> Iterator[None]:
        """Hold places for this many items of a caller, or refuse with OVERLOADED."""
        taken = self.taken
        if taken + items > self._count:
            raise VistokError(
                ErrorCode.OVERLOADED,
                f"{taken} of {self._count} places are taken, {items} more are needed",
            )
        if self._most_of_one is not None and self._held[identity] + items > self._most_of_one:
            raise VistokError(
                ErrorCode.OVERLOADED,
                f"expected at most {self._most_of_one} items of one caller at once, "
                f"got {items} more than {self._held[identity]}",
            )
        if taken + items > self._count - self._kept and self._held[identity] + items > self._kept:
            raise VistokError(
                ErrorCode.OVERLOADED,
                f"{taken} of {self._count} places are taken, {self._held[identity]} of them by this caller; "
                f"the last {self._kept} are for others",
            )
        self._held[identity] += items
        try:
            yield
        finally:
            self._held[identity] -= items
            if not self._held[identity]:
                del self._held[identity]
