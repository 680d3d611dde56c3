"""The device, which one batch has at a time; what nobody waits for any more does not get there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from threading import Lock

import numpy as np

from vistok_protocol.errors import ErrorCode
from vistok_server.orders import Failed, Outcome
from vistok_server.workers.attempts import Attempts

_FORGOTTEN = Failed(ErrorCode.TIMED_OUT, "nobody waited for this any more")


@dataclass(frozen=True)
class Device:
    """The device as one batch sees it.

    Attributes:
        turn: held while something runs there.
        attempts: of the batch.
        is_forgotten: tells whether nobody waits any more for the order at an index.
    """

    turn: Lock
    attempts: Attempts
    is_forgotten: Callable[[int], bool]

    def joined(
        self,
        run: Callable[[np.ndarray], np.ndarray],
        arrays: Sequence[tuple[int, np.ndarray]],
        pixels_of_item: int,
    ) -> list[np.ndarray | Failed]:
        """Run a model on arrays together, each with the index of its order, as in `Attempts.joined`."""
        with self.turn:
            wanted = [not self.is_forgotten(index) for index, _ in arrays]
            left = [array for _, array in compress(arrays, wanted)]
            found = iter(self.attempts.joined(run, left, pixels_of_item))
        return [next(found) if is_wanted else _FORGOTTEN for is_wanted in wanted]

    def one(self, index: int, pixels: int, function: Callable[..., Outcome], *arguments: object) -> Outcome:
        """Do one order, as in `Attempts.affordable`."""
        with self.turn:
            if self.is_forgotten(index):
                return _FORGOTTEN
            return self.attempts.affordable(pixels, function, *arguments)
