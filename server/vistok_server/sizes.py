"""How large a picture will be on the model's side, told at the door without decoding anything."""

import math
from dataclasses import dataclass
from io import BytesIO

import imagesize

from vistok.media.fitting import Fit
from vistok.media.limits import Limits
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import MAGIC as NPY_MAGIC
from vistok_server.bodies import Part
from vistok_server.settings import Settings

UNNAMED = ("", "application/octet-stream")  # what a form gives to a file that it knows nothing about

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
    if is_array(part.data, part.media_type):
        side = math.isqrt(len(part.data) // _COLOURS)
        return Expected((side, side), len(part.data) // _COLOURS)
    source = _size_in_header(part.data)
    if source is None:
        return Expected(fit.size or (0, 0), settings.max_batch_pixels)
    Limits(settings.max_body_bytes, settings.max_pixels).check_size(*source)
    height, width = fitted_size(source, fit)
    check_model_size(height, width, factor, settings)
    shape = _padded(height, factor), _padded(width, factor)
    return Expected(shape, max(math.prod(shape), math.prod(source)))


def is_array(data: bytes, media_type: str) -> bool:
    """Tell a picture that comes as an array; what has no type says by itself what it is."""
    return media_type == media_types.NPY or (media_type in UNNAMED and data.startswith(NPY_MAGIC))


def check_model_size(height: int, width: int, factor: int, settings: Settings) -> None:
    """Refuse a picture that is too large once it is padded to the factor: TOO_LARGE."""
    rows, columns = _padded(height, factor), _padded(width, factor)
    if rows * columns > settings.max_model_pixels:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"the model takes up to {settings.max_model_pixels} pixels, got {rows} x {columns} = "
            f"{rows * columns}; max_side or size make a picture smaller",
        )


def fitted_size(size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Give height and width after fitting, at most: going down to a multiple takes a little off."""
    if fit.size is not None:
        return fit.size
    longest = max(size)
    if fit.max_side is None or longest <= fit.max_side:
        return size
    height, width = (max(1, math.ceil(side * fit.max_side / longest)) for side in size)
    return height, width


def _padded(side: int, factor: int) -> int:
    return math.ceil(side / factor) * factor


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(_KNOWN_STARTS):
        return None
    try:
        width, height = imagesize.get(BytesIO(data[:_HEADER_BYTES]))
    except Exception:  # whatever a damaged header makes of it: the decoder will say what is wrong
        return None
    return (height, width) if min(height, width) > 0 else None
