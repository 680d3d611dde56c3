"""Clips as arrays: uint8 `(t h w 3)` in .npy, frame after frame; never is the whole array in memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vistok.media.clips.constant_rate import Timed
from vistok.media.clips.formats import USUAL_RATE
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.picture_clip import STILL
from vistok.media.clips.sink import ClipSink
from vistok.media.clips.source import ClipSource
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import MAGIC, NpyHeader, npy_header, read_npy_header
from vistok_protocol.tokens import PixelSize

_AT_ONCE = 2**20
_UINT8 = np.dtype(np.uint8)


def is_array(source: ClipSource) -> bool:
    """Say by the first bytes whether this is an array."""
    return source.peek(len(MAGIC)) == MAGIC


class ArrayClip:
    """The frames of an array `(t h w 3)`, of the usual rate; `(h w 3)` is a picture that stands still.

    Attributes:
        height: of the frames.
        width: of the frames.
        rate: frames a second.
        seconds: how long it is, by its header.
    """

    def __init__(self, source: ClipSource, limits: ClipLimits, warnings: list[str]) -> None:
        """Read the header.

        Raises:
            VistokError: INVALID_ARRAY, INVALID_SHAPE, TOO_LARGE (pixels of a frame), and what reading
                `source` raises.
        """
        header = _header_of(source)
        self._count, self.height, self.width = _sizes_of(header)
        limits.check_size(self.height, self.width)
        self.rate = STILL if len(header.shape) == 3 else USUAL_RATE
        self.seconds = self._count / self.rate
        self._source = source
        self._warnings = warnings

    def frames(self) -> Iterator[Timed[np.ndarray]]:
        """Read one frame after another, uint8 `(height width 3)`; those that came whole of a cut array.

        Raises:
            VistokError: INVALID_ARRAY when not one came whole, or when more follows than was announced.
        """
        for index in range(self._count):
            frame = np.empty((self.height, self.width, 3), np.uint8)
            came = self._fill(frame)
            if came < frame.nbytes:
                self._tell_of_cut(index, came, frame.nbytes)
                return
            yield Timed(frame, index / self.rate, 1 / self.rate)
        if self._source.read(1):
            raise VistokError(
                ErrorCode.INVALID_ARRAY,
                f"expected {self._count} frames and nothing after them, got more bytes",
            )

    def _fill(self, frame: np.ndarray) -> int:
        place = frame.data.cast("B")
        while len(place) and (data := self._source.read(min(len(place), _AT_ONCE))):
            place[: len(data)] = data
            place = place[len(data) :]
        return frame.nbytes - len(place)

    def _tell_of_cut(self, frames: int, came: int, expected: int) -> None:
        if not frames:
            raise VistokError(
                ErrorCode.INVALID_ARRAY,
                f"the array is cut short: of its first frame's {expected} bytes {came} came",
            )
        self._warnings.append(f"the array is cut short: of its {self._count} frames {frames} came whole")


def write_array_clip(path: Path, frames: Iterable[np.ndarray], size: PixelSize) -> None:
    """Write frames, as many and as large as `size` says, as an array `(t h w 3)` of uint8.

    When that fails, the file is removed.

    Raises:
        VistokError: INVALID_REQUEST when the file cannot be written; what `frames` raises.
    """
    sink = ClipSink(path)
    try:
        sink.write(npy_header((size.frames or 1, size.height, size.width, 3), _UINT8))
        for frame in frames:
            sink.write(frame.tobytes())
    except BaseException:
        sink.abandon()
        raise
    sink.close()


def _header_of(source: ClipSource) -> NpyHeader:
    try:
        return read_npy_header(source)
    except VistokError:
        source.raise_failure()
        raise


def _sizes_of(header: NpyHeader) -> tuple[int, int, int]:
    """Give the frames, their height and their width."""
    shape, dtype = header.shape, header.dtype
    if dtype != _UINT8 or header.fortran_order:
        order = "Fortran" if header.fortran_order else "C"
        raise VistokError(
            ErrorCode.INVALID_ARRAY, f"expected a uint8 array in C order, got {dtype} in {order} order"
        )
    if len(shape) not in (3, 4) or shape[-1] != 3 or min(shape) < 1:
        raise VistokError(ErrorCode.INVALID_SHAPE, f"expected an array (t h w 3) or (h w 3), got {shape}")
    count = shape[0] if len(shape) == 4 else 1
    return count, shape[-3], shape[-2]
