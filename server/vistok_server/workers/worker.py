"""What the engine knows of a worker: it is started, takes one batch at a time, and may be lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vistok_protocol.errors import VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.jobs import Operation

Outcome = np.ndarray | VistokError


@dataclass(frozen=True, eq=False)
class Batch:
    """The arrays of several jobs, alike but for the length of their leading axis."""

    tokenizer: str
    operation: Operation
    arrays: Sequence[np.ndarray]

    @property
    def counts(self) -> list[int]:
        """How many items each job has."""
        return [len(array) for array in self.arrays]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of a batch: for each job its result, or its own error."""

    results: Sequence[Outcome]
    too_many_items: int | None
    """The fewest items for which the device had not enough memory; None when there was enough."""


class WorkerLost(Exception):
    """The worker is gone, or does not answer: what it was working on is not known to be done."""


class Worker(Protocol):
    """The owner of one device and the models on it."""

    async def start(self) -> Mapping[str, TokenizerInfo]:
        """Load the tokenizers and describe them; VistokError when they cannot be had, WorkerLost."""

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost. To be called again only after it has returned."""

    async def stop(self) -> None:
        """End it, at once where it does not answer; may be started again afterwards."""
