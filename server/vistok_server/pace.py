"""How fast items leave the house, and so when it is worth coming back."""

import time
from collections import deque
from collections.abc import Callable
from math import ceil

_WINDOW_SECONDS = 10.0
_LONGEST_SECONDS = 60


class Pace:
    """Counts what was finished in the last ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._finished: deque[tuple[float, int]] = deque()
        self._items = 0

    def add(self, items: int) -> None:
        """Count items as finished now."""
        self._finished.append((self._clock(), items))
        self._items += items

    def seconds_for(self, items: int) -> int:
        """Give the whole seconds in which this many items leave at this pace: from 1 to a minute."""
        now = self._clock()
        while self._finished and self._finished[0][0] < now - _WINDOW_SECONDS:
            self._items -= self._finished.popleft()[1]
        if not self._items:
            return 1 if not items else _LONGEST_SECONDS
        span = max(now - self._finished[0][0], 1.0)
        return min(_LONGEST_SECONDS, max(1, ceil(items * span / self._items)))
