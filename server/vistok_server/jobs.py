"""What is asked of a worker: the words that the parts of the engine share."""

import time
from asyncio import Future
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np


class Operation(StrEnum):
    """What a worker does with an array; the leading axis `n` counts the items of the job."""

    ENCODE = "encode"  # (n h w 3) uint8 -> ids (n h/f w/f [k]) int64
    DECODE = "decode"  # ids (n h w [k]) int64 -> (n h*f w*f 3) uint8
    QUANTIZE = "quantize"  # (n d h w) float32 -> ids (n h w [k]) int64
    LOOKUP = "lookup"  # ids (n h w [k]) int64 -> (n d h w) float32


@dataclass(frozen=True)
class Sender:
    """Who asks, and how urgently."""

    identity: str
    """Equal for calls that share one turn with each other."""
    is_bulk: bool = False
    """Whether the work lets all other work go first."""


BatchKey = tuple[str, Operation, tuple[int, ...], int | None]


@dataclass(eq=False)
class Job:
    """One array to be worked on, and the future that its result is put in; belongs to the event loop."""

    sender: Sender
    tokenizer: str
    operation: Operation
    array: np.ndarray
    pixels: int
    """What it counts for in a batch: the pixels of the picture on the model's side."""
    result: "Future[np.ndarray]"
    arrived: float = field(default_factory=time.monotonic)
    has_lost_a_worker: bool = False
    """Whether it was in the batch of a worker that died: it is tried once more, alone."""

    @property
    def flow(self) -> tuple[str, str]:
        """Jobs of one caller for one tokenizer share their turns."""
        return self.sender.identity, self.tokenizer

    @property
    def is_bulk(self) -> bool:
        """Whether it lets all others go first."""
        return self.sender.is_bulk

    @property
    def key(self) -> BatchKey:
        """Jobs may share a batch when their keys are equal: no shape is ever padded to another."""
        return (
            self.tokenizer,
            self.operation,
            self.array.shape[1:],
            id(self) if self.has_lost_a_worker else None,
        )
