"""What waits for a worker: an order, who gave it, and who wants its result."""

import math
import time
from asyncio import Future
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vistok_server.orders import Order, Result

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from vistok_server.tracing import Trace


@dataclass(frozen=True)
class Sender:
    """Who asks, and how urgently."""

    identity: str
    """Equal for calls that share one turn with each other."""
    is_bulk: bool = False
    """Whether the work lets all other work go first."""
    trace: "Trace | None" = None
    """Of the call, if it is traced."""
    deadline: float = math.inf
    """When nobody waits any more, on the monotonic clock."""


@dataclass(eq=False)
class Job:
    """One order, and the future that its result is put in; belongs to the event loop."""

    sender: Sender
    tokenizer: str
    order: Order
    shape: tuple[int, ...]
    """Of what the model sees; jobs of one shape share a batch."""
    pixels: int
    """What it counts for in a batch and in its caller's share."""
    result: "Future[Result]"
    arrived: float = field(default_factory=time.monotonic)
    has_lost_a_worker: bool = False
    """Whether it was in the batch of a worker that died: it is tried once more, alone."""
    give_up: "Callable[[], None] | None" = None
    """While it is at a worker: has it left undone, if that is still possible."""
    stage: "Span | None" = None
    """Where it is now, if its call is traced."""

    @property
    def kind(self) -> tuple[str, str]:
        """The tokenizer and the operation, which all jobs of a batch share."""
        return self.tokenizer, self.order.operation

    @property
    def flow(self) -> tuple[str, str]:
        """Jobs of one caller for one tokenizer share their turns."""
        return self.sender.identity, self.tokenizer

    @property
    def is_bulk(self) -> bool:
        """Whether it lets all others go first."""
        return self.sender.is_bulk

    @property
    def key(self) -> Hashable:
        """Jobs may share a batch when their keys are equal: no shape is ever padded to another."""
        return (*self.kind, self.shape, id(self) if self.has_lost_a_worker else None)
