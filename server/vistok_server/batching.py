"""Which waiting jobs make the next batch: rules only, without clock, thread or torch."""

from collections import deque
from collections.abc import Hashable
from typing import Protocol, TypeVar


class Batchable(Protocol):
    """What the rules look at."""

    @property
    def key(self) -> Hashable:
        """Equal for jobs that may share a batch."""

    @property
    def pixels(self) -> int:
        """What the job counts for in the budget."""


Item = TypeVar("Item", bound=Batchable)


def take_batch(waiting: deque[Item], max_pixels: int) -> list[Item]:
    """Remove and return the next batch; the jobs left behind keep their order.

    The oldest job always goes, however large, so that none waits for ever. Jobs of its key join it in
    order until one does not fit the budget: a later, smaller job does not overtake that one.
    """
    if not waiting:
        return []
    first = waiting.popleft()
    batch, budget = [first], max_pixels - first.pixels
    left_behind: deque[Item] = deque()
    while waiting:
        job = waiting.popleft()
        if job.key != first.key:
            left_behind.append(job)
        elif job.pixels <= budget:
            batch.append(job)
            budget -= job.pixels
        else:
            left_behind.append(job)
            break
    waiting.extendleft(reversed(left_behind))
    return batch
