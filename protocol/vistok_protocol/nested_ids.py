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
        # As objects first: among strings numpy would give every item the room of the longest.
        items = np.array(nested, dtype=object)
    except (ValueError, RecursionError) as error:
        raise VistokError(
            ErrorCode.INVALID_SHAPE, "expected ids as lists of equal lengths, got ragged ones"
        ) from error
    if not 1 <= items.ndim <= MAX_DIMENSIONS or items.size == 0:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected ids in 1 to {MAX_DIMENSIONS} levels of lists, none empty, got shape {items.shape}",
        )
    _check_integers(items)
    try:
        return items.astype(np.int64)
    except OverflowError as error:
        raise VistokError(
            ErrorCode.ID_OUT_OF_RANGE, "expected ids of at most 62 bits, got a longer number"
        ) from error


def _check_integers(items: NDArray[np.object_]) -> None:
    for item in items.ravel().tolist():
        if isinstance(item, list):
            raise VistokError(
                ErrorCode.INVALID_SHAPE, "expected ids as lists of equal lengths, got ragged ones"
            )
        if type(item) is not int:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"expected ids as integers, got {repr(item)[:40]}")
