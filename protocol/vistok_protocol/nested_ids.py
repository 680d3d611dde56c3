"""Ids as they stand in JSON: lists in lists."""

import numpy as np
from numpy.typing import NDArray

from vistok_protocol.errors import ErrorCode, VistokError

MAX_DIMENSIONS = 8


def read_nested_ids(nested: object) -> NDArray[np.int64]:
    """Return nested lists of integers as an array; whether the ids fit a vocabulary is not checked here.

    Raises VistokError INVALID_SHAPE for lists that are empty, ragged or too deep, ID_OUT_OF_RANGE for
    numbers that no id can be, INVALID_REQUEST for anything that is not an integer.
    """
    try:
        array = np.array(nested)
    except (ValueError, RecursionError) as error:
        raise VistokError(
            ErrorCode.INVALID_SHAPE, "expected ids as lists of equal lengths, got ragged ones"
        ) from error
    if not 1 <= array.ndim <= MAX_DIMENSIONS or array.size == 0:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected ids in 1 to {MAX_DIMENSIONS} levels of lists, none empty, got shape {array.shape}",
        )
    if array.dtype.kind != "i":
        raise _not_ids(nested)
    return array.astype(np.int64, copy=False)


def _not_ids(nested: object) -> VistokError:
    """Say why numpy did not make an array of int64: it makes floats or objects of long integers, too."""
    items = np.array(nested, dtype=object).reshape(-1)
    for item in items:
        if type(item) is not int:
            return VistokError(ErrorCode.INVALID_REQUEST, f"expected ids as integers, got {repr(item)[:40]}")
    return VistokError(ErrorCode.ID_OUT_OF_RANGE, "expected ids of at most 62 bits, got a longer number")
