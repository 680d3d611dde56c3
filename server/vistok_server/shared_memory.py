"""Arrays that two processes see without sending them.

The memory has no name: it is gone when the last process that holds it has ended, however that ended.
"""

import mmap
import os
import tempfile
from typing import Annotated

import numpy as np
from pydantic import PlainSerializer, PlainValidator, SerializationInfo, ValidationInfo

_SMALLEST_BYTES = 1 << 20
# Every array begins on a boundary of its own, so that any dtype lies well.
_ALIGNMENT = 64
# Marks lie before the first array.
_MARKS = 4096

Place = tuple[int, str, tuple[int, ...]]
"""Where an array begins, in bytes; its dtype; its shape."""


class SharedMemory:
    """Memory for the arrays of one message at a time; it grows when they need more.

    Attributes:
        descriptor: what the other process opens it by.
    """

    def __init__(self, descriptor: int | None = None, copies: bool = False) -> None:
        self.descriptor = _nameless() if descriptor is None else descriptor
        self._copies = copies
        self._map: mmap.mmap | None = None
        self._end = _MARKS

    def clear(self) -> None:
        """Begin another message, over the one before, without marks."""
        self._end = _MARKS
        if self._map is not None:
            self._map[:_MARKS] = bytes(_MARKS)

    def mark(self, index: int) -> None:
        """Tell the other side something about the message that is there; nothing from index 4,096 on."""
        if self._map is not None and index < _MARKS:
            self._map[index] = 1

    def is_marked(self, index: int) -> bool:
        """Whether either side has told this."""
        return self._map is not None and index < _MARKS and self._map[index] == 1

    def put(self, array: np.ndarray) -> Place:
        """Store an array behind those of the same message."""
        start, self._end = self._end, -(-(self._end + array.nbytes) // _ALIGNMENT) * _ALIGNMENT
        if self._map is None or len(self._map) < self._end:
            # In powers of two, so that a service soon stops growing it.
            size = max(_SMALLEST_BYTES, 1 << (self._end - 1).bit_length())
            os.ftruncate(self.descriptor, size)
            self._map = mmap.mmap(self.descriptor, size)
        np.ndarray(array.shape, array.dtype, self._map, start)[...] = array
        return start, array.dtype.str, array.shape

    def take(self, start: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """Give an array that was stored: a view until the next message, or a copy (`copies`)."""
        kind = np.dtype(dtype)
        if self._map is None or len(self._map) < start + kind.itemsize * int(np.prod(shape)):
            self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        view = np.ndarray(shape, kind, self._map, start)
        return view.copy() if self._copies else view

    def close(self) -> None:
        """Let go of it; views that were given stay valid."""
        self._map = None
        os.close(self.descriptor)


def _put(array: np.ndarray, info: SerializationInfo[SharedMemory]) -> Place:
    return info.context.put(array)


def _take(place: Place, info: ValidationInfo[SharedMemory]) -> np.ndarray:
    return info.context.take(*place)


Shared = Annotated[np.ndarray, PlainValidator(_take), PlainSerializer(_put)]
"""An array that goes through the `SharedMemory` in the context of whoever writes or reads the message."""


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vistok")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
