"""Arrays that two processes see without sending them.

The memory has no name: it is gone when the last process that holds it has ended, however that ended.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence

import numpy as np

_SMALLEST_BYTES = 1 << 20


class SharedMemory:
    """Memory that grows when more is written, for one batch at a time.

    Attributes:
        descriptor: what the other process opens it by.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _nameless() if descriptor is None else descriptor
        self._map: mmap.mmap | None = None

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """Store arrays one after the other, from the start."""
        start = 0
        self._grow(sum(array.nbytes for array in arrays))
        for array in arrays:
            self._view(start, array.dtype, array.shape)[...] = array
            start += array.nbytes

    def read(self, kinds: Sequence[tuple[np.dtype, tuple[int, ...]]]) -> list[np.ndarray]:
        """Give views of arrays of these dtypes and shapes, stored one after the other."""
        arrays: list[np.ndarray] = []
        start = 0
        self._map_to(os.fstat(self.descriptor).st_size)
        for dtype, shape in kinds:
            arrays.append(self._view(start, dtype, shape))
            start += arrays[-1].nbytes
        return arrays

    def close(self) -> None:
        """Let go of it; views that were given stay valid."""
        self._map = None
        os.close(self.descriptor)

    def _view(self, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        assert self._map is not None
        return np.ndarray(shape, dtype, self._map, start)

    def _grow(self, size: int) -> None:
        if os.fstat(self.descriptor).st_size < size or self._map is None:
            # In powers of two, so that a service soon stops growing it.
            size = max(_SMALLEST_BYTES, 1 << (size - 1).bit_length() if size else 0)
            os.ftruncate(self.descriptor, size)
            self._map_to(size)

    def _map_to(self, size: int) -> None:
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.descriptor, size)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vistok")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
