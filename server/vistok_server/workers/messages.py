"""What a worker process and its parent say to each other: JSON in frames; arrays go through shared memory."""

from struct import Struct
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.orders import Failed
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.worker import Batch, Outcomes

HEAD = Struct("<Ic")
"""Of a frame: the length of what follows, and what it is."""
BATCH, SETTINGS = b"b", b"s"
"""What a parent sends: work; or settings, whose tokenizers to have from now on."""

_BATCH = TypeAdapter(Batch)
_OUTCOMES = TypeAdapter(Outcomes)


class Ready(BaseModel):
    """The child's answer to settings: what it has loaded, by source, or why it could not."""

    model_config = ConfigDict(frozen=True)

    tokenizers: dict[str, TokenizerInfo] | None = None
    failed: Failed | None = None


def frame(kind: bytes, body: bytes) -> bytes:
    """Put a head in front of a message."""
    return HEAD.pack(len(body), kind) + body


def pack_batch(batch: Batch, memory: SharedMemory) -> bytes:
    """Write a batch; its arrays go into the memory."""
    return _pack(_BATCH, batch, memory)


def unpack_batch(body: bytes, memory: SharedMemory) -> Batch:
    """Read a batch."""
    return _BATCH.validate_json(body, context=memory)


def pack_outcomes(outcomes: Outcomes, memory: SharedMemory) -> bytes:
    """Write what became of a batch; its arrays go into the memory."""
    return _pack(_OUTCOMES, outcomes, memory)


def unpack_outcomes(body: bytes, memory: SharedMemory) -> Outcomes:
    """Read what became of a batch."""
    return _OUTCOMES.validate_json(body, context=memory)


def _pack(adapter: TypeAdapter[Any], message: Batch | Outcomes, memory: SharedMemory) -> bytes:
    memory.clear()
    return adapter.dump_json(message, context=memory)
