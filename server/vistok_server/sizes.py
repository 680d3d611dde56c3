"""How large a picture is, and will be on the model's side: told at the door, without decoding anything."""

import math
from dataclasses import dataclass
from io import BytesIO

import imagesize

from vistok.media.fitting import Fit
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.parts import Part
from vistok_server.settings import Settings

# Formats whose header is read in a few milliseconds at most, whatever stands in it.
_KNOWN_STARTS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
)
_HEADER_BYTES = 64 * 1024
_COLOURS = 3


@dataclass(frozen=True)
class Expected:
    """What a picture will be, as far as its header tells: one that is turned has its sides exchanged."""

    shape: tuple[int, int]
    """Rows and columns of pixels that the model will see."""
    pixels: int
    """What it counts for in a batch: pixels that are decoded, or that the model sees, whichever are more."""


def expect(part: Part, fit: Fit, factor: int, settings: Settings) -> Expected:
    """Look at a picture at the door; TOO_LARGE when it says so itself.

    One that does not tell its size counts for a whole batch: a few bytes can be a long work for a decoder.
    """
    if part.is_array:
        side = math.isqrt(len(part.data) // _COLOURS)
        return Expected((side, side), len(part.data) // _COLOURS)
    source = _size_in_header(part.data)
    if source is None:
        return Expected(fit.size or (0, 0), settings.max_batch_pixels)
    Limits(settings.max_body_bytes, settings.max_pixels).check_size(*source)
    shape = model_shape(source, fit, factor, settings)
    return Expected(shape, max(math.prod(shape), math.prod(source)))


def model_shape(size: tuple[int, int], fit: Fit, factor: int, settings: Settings) -> tuple[int, int]:
    """Give rows and columns after fitting and padding; TOO_LARGE when they are more than the model takes.

    At most: going down to a multiple of the factor takes a little off.
    """
    rows, columns = (math.ceil(side / factor) * factor for side in _fitted(size, fit))
    if rows * columns > settings.max_model_pixels:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"the model takes up to {settings.max_model_pixels} pixels, got {rows} x {columns} = "
            f"{rows * columns}; max_side or size make a picture smaller",
        )
    return rows, columns


def _fitted(size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    if fit.size is not None:
        return fit.size
    longest = max(size)
    if fit.max_side is None or longest <= fit.max_side:
        return size
    height, width = (max(1, math.ceil(side * fit.max_side / longest)) for side in size)
    return height, width


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(_KNOWN_STARTS):
        return None
    try:
        width, height = imagesize.get(BytesIO(data[:_HEADER_BYTES]))
    except Exception:  # whatever a damaged header makes of it: the decoder will say what is wrong
        return None
    return (height, width) if min(height, width) > 0 else None
