"""How large a picture will be on the model's side, told at the door without decoding anything."""

import math
from io import BytesIO

import imagesize

from vistok.media.fitting import Fit
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.bodies import Part
from vistok_server.settings import Settings

# Formats whose header is read in a time that does not matter, whatever stands in it.
_KNOWN_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8")
_HEADER_BYTES = 64 * 1024
# Of a picture whose header says nothing here: as photographs are compressed.
_PIXELS_PER_BYTE = 4


def model_shape(part: Part, fit: Fit, factor: int, settings: Settings) -> tuple[int, int]:
    """Guess rows and columns of pixels that the model will see; TOO_LARGE when the header says too many.

    A guess, since only the decoder knows: a turned photograph has its sides exchanged.
    """
    if fit.size is not None:
        size = fit.size
    elif (found := _size_in_header(part.data)) is not None:
        Limits(settings.max_body_bytes, settings.max_pixels).check_size(*found)
        size = fitted_size(found, fit)
    else:
        side = min(math.isqrt(len(part.data) * _PIXELS_PER_BYTE), math.isqrt(settings.max_model_pixels))
        return _padded(side, factor), _padded(side, factor)
    check_model_size(*size, factor, settings)
    return _padded(size[0], factor), _padded(size[1], factor)


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
