"""What the engine knows of a worker: it is started, takes batches, and may be lost."""

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.orders import Order, Outcome


@dataclass(frozen=True, eq=False)
class Batch:
    """Orders of one operation for one tokenizer, about alike in size."""

    tokenizer: str
    orders: list[Order]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of a batch: for each order its result, or its own error."""

    results: list[Outcome]
    too_many_pixels: int | None = None
    """The fewest pixels at once for which the device had not enough memory; None when there was enough."""


class WorkerLost(Exception):
    """The worker is gone, or does not answer: what it was working on is not known to be done.

    Attributes:
        had_begun: whether it may have looked at what it was given.
    """

    def __init__(self, reason: str, had_begun: bool = True) -> None:
        super().__init__(reason)
        self.had_begun = had_begun


class Worker(Protocol):
    """The owner of one device, or of a share of the processor, and the models on it.

    Attributes:
        lanes: how many batches it takes at a time; it prepares one while the device is busy with another.
        lost: of one that was started: done when it is known to be lost.
    """

    lanes: int
    lost: "Future[None]"

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Load the tokenizers, describe them by source; VistokError when they cannot be had, WorkerLost."""

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost. No more at a time than there are lanes."""

    def forget(self, batch: Batch, index: int) -> None:
        """Tell that an order of a batch that runs is not wanted any more: it may be left undone."""

    async def change(self, sources: list[str]) -> Mapping[str, TokenizerInfo]:
        """Load and let go, so that it has the tokenizers of these sources; describe them by source.

        Raises VistokError when they cannot be had, and stays with those that it has; WorkerLost. Not to be
        called while a batch runs.
        """

    async def stop(self) -> None:
        """End it, at once where it does not answer; may be started again afterwards."""
