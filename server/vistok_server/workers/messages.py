"""What a worker process and its parent say to each other: JSON in frames; arrays go through shared memory."""

from collections.abc import Sequence
from struct import Struct
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.jobs import Operation
from vistok_server.workers.worker import Batch, Outcomes

LENGTH = Struct("<I")
Said = TypeVar("Said", bound="Message")


class Message(BaseModel):
    """Base of what is said."""

    model_config = ConfigDict(frozen=True)

    def to_frame(self) -> bytes:
        """Give it with its length in front."""
        body = self.model_dump_json().encode()
        return LENGTH.pack(len(body)) + body


class Stored(Message):
    """An array in shared memory, behind those named before it."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: np.ndarray) -> "Stored":
        """Describe an array."""
        return cls(dtype=array.dtype.str, shape=array.shape)

    @property
    def kind(self) -> tuple[np.dtype, tuple[int, ...]]:
        """As `SharedMemory.read` asks for it."""
        return np.dtype(self.dtype), self.shape


class Failed(Message):
    """An error of ours."""

    code: ErrorCode
    detail: str

    @classmethod
    def of(cls, error: VistokError) -> "Failed":
        """Describe an error."""
        return cls(code=error.code, detail=error.detail)

    @property
    def error(self) -> VistokError:
        """The error."""
        return VistokError(self.code, self.detail)


class Ready(Message):
    """The child's first word: what it has loaded, or why it could not."""

    tokenizers: dict[str, TokenizerInfo] | None = None
    failed: Failed | None = None


class Task(Message):
    """A batch whose arrays lie joined in shared memory."""

    tokenizer: str
    operation: Operation
    inputs: Stored
    counts: list[int]

    @classmethod
    def of(cls, batch: Batch) -> "Task":
        """Describe a batch."""
        first = batch.arrays[0]
        counts = batch.counts
        inputs = Stored(dtype=first.dtype.str, shape=(sum(counts), *first.shape[1:]))
        return cls(tokenizer=batch.tokenizer, operation=batch.operation, inputs=inputs, counts=counts)


class Done(Message):
    """What became of each job of a batch; the arrays lie in shared memory in this order."""

    results: list[Stored | Failed]
    too_many_items: int | None

    @classmethod
    def of(cls, outcomes: Outcomes) -> "Done":
        """Describe outcomes."""
        results = [
            Failed.of(result) if isinstance(result, VistokError) else Stored.of(result)
            for result in outcomes.results
        ]
        return cls(results=results, too_many_items=outcomes.too_many_items)

    def to_outcomes(self, arrays: Sequence[np.ndarray]) -> Outcomes:
        """Give the outcomes back, from the arrays that were stored."""
        stored = iter(arrays)
        results = [result.error if isinstance(result, Failed) else next(stored) for result in self.results]
        return Outcomes(results, self.too_many_items)

    @property
    def kinds(self) -> list[tuple[np.dtype, tuple[int, ...]]]:
        """The arrays that were stored."""
        return [result.kind for result in self.results if isinstance(result, Stored)]
