"""How often each caller may call: a bucket of calls that fills at a steady rate."""

import time
from collections.abc import Callable

from vistok_protocol.errors import ErrorCode, VistokError

# What fits into a bucket is what one second brings, but at least one call.
_SMALLEST_BUCKET = 1.0
_MOST_CALLERS_KEPT = 10_000


class Rates:
    """The calls that callers have left; a rate of None is no limit."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # calls, and when there were so many

    def take(self, identity: str) -> None:
        """Count a call, or refuse it with OVERLOADED."""
        if self._per_second is None:
            return
        now = self._clock()
        size = max(self._per_second, _SMALLEST_BUCKET)
        calls, then = self._left.pop(identity, (size, now))
        calls = min(size, calls + (now - then) * self._per_second)
        allowed = calls >= 1
        self._left[identity] = (calls - 1 if allowed else calls, now)
        if len(self._left) > _MOST_CALLERS_KEPT:
            del self._left[next(iter(self._left))]  # the one who has not called for longest
        if not allowed:
            raise VistokError(
                ErrorCode.OVERLOADED, f"expected at most {self._per_second:g} calls a second of one caller"
            )
