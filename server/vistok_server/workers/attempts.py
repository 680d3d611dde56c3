"""Attempts at work that may fail: what fails is split until the bad item is alone, and fails by itself."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.orders import Failed

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_SMALLER = "send a smaller picture, or ask for max_side"


class Attempts:
    """What one batch tries.

    Attributes:
        too_many_pixels: the fewest pixels at once for which there was not enough memory, if there was none.
    """

    def __init__(self, what: str, affordable_pixels: float) -> None:
        self._what = what
        self._affordable_pixels = affordable_pixels
        self.too_many_pixels: int | None = None

    def one(self, function: Callable[..., Result], *arguments: object) -> Result | Failed:
        """Call a function; what it raises is given back as an error of ours.

        Raises torch.AcceleratorError when the device fails, not the work: this process is of no use any more.
        """
        try:
            return function(*arguments)
        except torch.AcceleratorError:
            raise
        except VistokError as error:
            return Failed.of(error)
        except Exception as error:
            logger.warning("%s failed: %r", self._what, error)
            return Failed(*self._reason(error))

    def affordable(self, pixels: int, function: Callable[..., Result], *arguments: object) -> Result | Failed:
        """Call a function that works on so many pixels at once, if there is memory for them."""
        if pixels > self._affordable_pixels:
            return Failed(ErrorCode.TOO_LARGE, self._too_large(pixels))
        return self.one(function, *arguments)

    def joined(
        self, run: Callable[[np.ndarray], np.ndarray], arrays: Sequence[np.ndarray], pixels_of_item: int
    ) -> list[np.ndarray | Failed]:
        """Run a model on arrays joined along their first axis, which counts items; one result for each."""
        if not arrays:
            return []
        pixels = pixels_of_item * sum(map(len, arrays))
        if pixels <= self._affordable_pixels:
            outputs = self.one(_joined, run, arrays)
            if not isinstance(outputs, Failed):
                return [*np.split(outputs, np.cumsum([len(array) for array in arrays])[:-1])]
            if outputs.code is ErrorCode.TOO_LARGE:
                self.too_many_pixels = min(pixels, self.too_many_pixels or pixels)
        else:
            outputs = Failed(ErrorCode.TOO_LARGE, self._too_large(pixels))
        if len(arrays) == 1:
            return [outputs]
        middle = len(arrays) // 2
        return [
            *self.joined(run, arrays[:middle], pixels_of_item),
            *self.joined(run, arrays[middle:], pixels_of_item),
        ]

    def _reason(self, error: Exception) -> tuple[ErrorCode, str]:
        if not _is_out_of_memory(error):
            return ErrorCode.INTERNAL, f"{self._what} failed for this input"
        torch.cuda.empty_cache()
        return ErrorCode.TOO_LARGE, f"not enough memory for {self._what}; {_SMALLER}"

    def _too_large(self, pixels: int) -> str:
        return f"{self._what} has memory for {self._affordable_pixels} pixels, got {pixels}; {_SMALLER}"


def _joined(run: Callable[[np.ndarray], np.ndarray], arrays: Sequence[np.ndarray]) -> np.ndarray:
    inputs = np.concatenate(arrays)
    outputs = run(inputs)
    if len(outputs) != len(inputs):
        raise RuntimeError(f"expected {len(inputs)} results, got {len(outputs)}")
    return outputs


def _is_out_of_memory(error: Exception) -> bool:
    # The allocator of CPU memory has no exception of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
