"""Arrays as .npy bytes from people we do not know.

The header is read with numpy's own parser, never with pickle, and is believed only when its shape
and dtype account for exactly the bytes that follow.
"""

import io
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from vistok_protocol.errors import ErrorCode, VistokError

MAGIC = b"\x93NUMPY"
MAX_HEADER_SIZE = 1024
MAX_DIMENSIONS = 8
# Of the magic, the version and the header's length, which stand in front of a header.
_OPENING_SIZE = 12


class Readable(Protocol):
    """What a header is read from."""

    def read(self, count: int, /) -> bytes:
        """Give at most `count` bytes, and none at the end."""


@dataclass(frozen=True)
class NpyHeader:
    """What stands before an array's data, as it was found: nothing of it is checked."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


def read_npy(data: bytes, *, max_elements: int) -> NDArray[Any]:
    """Return the array in `data`: integers or floats of 8 to 64 bits, 1 to 8 dimensions, none empty.

    The array is writable, C-contiguous and in native byte order. Raises VistokError INVALID_ARRAY,
    before anything is allocated, for everything else, more than `max_elements` included.
    """
    stream = io.BytesIO(data)
    header = read_npy_header(stream)
    shape, dtype, start = header.shape, header.dtype, stream.tell()
    _check_dtype(dtype)
    _check_shape(shape, max_elements)
    expected, remaining = math.prod(shape) * dtype.itemsize, len(data) - start
    if expected != remaining:
        raise _invalid(f"expected {expected} bytes after the header for {dtype} {shape}, got {remaining}")
    stored = np.frombuffer(data, dtype=dtype, offset=start)
    array = stored.reshape(shape, order="F" if header.fortran_order else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C", copy=True)


def read_npy_header(stream: Readable) -> NpyHeader:
    """Read up to where an array's data begin, and no further; INVALID_ARRAY where no header stands."""
    opening = _Opening(stream)
    try:
        version = npy_format.read_magic(opening)
        if version == (1, 0):
            return NpyHeader(*npy_format.read_array_header_1_0(opening, max_header_size=MAX_HEADER_SIZE))
        if version == (2, 0):
            return NpyHeader(*npy_format.read_array_header_2_0(opening, max_header_size=MAX_HEADER_SIZE))
    # For bytes that are no header numpy raises whatever its tokenizer, evaluator and dtype parser
    # raise: ValueError, SyntaxError, TypeError, TokenError, RecursionError and more.
    except Exception as error:
        raise _invalid(
            "expected an array as .npy bytes, got bytes without a header of that format"
        ) from error
    raise _invalid(f"expected version 1.0 or 2.0 of the .npy format, got {version[0]}.{version[1]}")


def write_npy(array: NDArray[Any]) -> bytes:
    """Return `array` (integers or floats) as .npy bytes."""
    _check_dtype(array.dtype)
    stream = io.BytesIO()
    npy_format.write_array(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what stands before the data of such an array, in C order."""
    _check_dtype(dtype)
    stream = io.BytesIO()
    fields = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


class _Opening:
    """The first bytes of a stream, no more than a header has: numpy would read as many as it is told."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = _OPENING_SIZE + MAX_HEADER_SIZE

    def read(self, count: int = 0, /) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        return data


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise _invalid(f"expected an array of integers or floats of at most 64 bits, got {dtype}")


def _check_shape(shape: tuple[int, ...], max_elements: int) -> None:
    if not 1 <= len(shape) <= MAX_DIMENSIONS or min(shape) < 1:
        raise _invalid(f"expected 1 to {MAX_DIMENSIONS} dimensions of at least 1, got shape {shape}")
    if math.prod(shape) > max_elements:
        raise _invalid(f"expected at most {max_elements} elements, got {math.prod(shape)} in shape {shape}")


def _invalid(detail: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_ARRAY, detail)
