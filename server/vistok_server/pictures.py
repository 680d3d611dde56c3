"""Media at the door: bodies to pictures that fit the model, pictures to bodies; on media threads."""

import math

import numpy as np

from vistok.media.fitting import Fit, Prepared, prepare
from vistok.media.image import ImageFormat, read_image, read_size, write_image
from vistok.media.limits import Limits
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import MAGIC as NPY_MAGIC
from vistok_protocol.npy import read_npy, write_npy
from vistok_server.bodies import Part
from vistok_server.settings import Settings

FORMATS: dict[str, ImageFormat] = {
    media_types.PNG: "png",
    media_types.WEBP: "webp",
    media_types.JPEG: "jpeg",
}
PICTURE_TYPES = (*FORMATS, media_types.NPY)
UNNAMED_TYPES = ("", "application/octet-stream")  # what a form gives to a file that it knows nothing about


def read_picture(part: Part, settings: Settings) -> np.ndarray:
    """Give the picture in a body as uint8 `(h w 3)`; a body without a type says by itself what it is.

    Raises EMPTY_BODY, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, UNREADABLE_MEDIA, INVALID_ARRAY, INVALID_SHAPE.
    """
    if _is_array(part):
        return _read_array(part.data, settings)
    return read_image(part.data, _limits(settings))


def measure_part(part: Part, fit: Fit, factor: int, settings: Settings) -> int:
    """Tell how many pixels a picture takes, before or after fitting; TOO_LARGE for too many after it.

    Of an encoded picture only the header is read. Errors: `read_picture`.
    """
    size = _size_of(part, settings)
    return max(math.prod(size), check_model_pixels(_largest_size(size, fit), factor, settings))


def prepare_part(part: Part, fit: Fit, factor: int, settings: Settings) -> Prepared:
    """Read a picture that `measure_part` has let through and fit it to the model; errors: `read_picture`."""
    return prepare(read_picture(part, settings), fit, factor)


def write_picture(picture: np.ndarray, media_type: str) -> bytes:
    """Encode uint8 `(h w 3)` as one of `PICTURE_TYPES`."""
    if media_type == media_types.NPY:
        return write_npy(picture)
    return write_image(picture, FORMATS[media_type])


def check_model_pixels(size: tuple[int, ...], factor: int, settings: Settings) -> int:
    """Count the pixels of a picture padded to the factor; TOO_LARGE for more than the model takes."""
    height, width = (math.ceil(side / factor) * factor for side in size)
    if height * width > settings.max_model_pixels:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"the model takes up to {settings.max_model_pixels} pixels, got {height} x {width} = "
            f"{height * width}; max_side or size make a picture smaller",
        )
    return height * width


def _is_array(part: Part) -> bool:
    """Tell an array from an encoded picture; UNSUPPORTED_MEDIA_TYPE for what says that it is neither."""
    unnamed = part.media_type in UNNAMED_TYPES
    if part.media_type == media_types.NPY or (unnamed and part.data.startswith(NPY_MAGIC)):
        return True
    if part.media_type.startswith("image/") or unnamed:
        return False
    raise VistokError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"expected a picture (image/*) or an array ({media_types.NPY}), got {part.media_type[:80]!r}",
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_body_bytes, settings.max_pixels)


def _size_of(part: Part, settings: Settings) -> tuple[int, ...]:
    if _is_array(part):
        return _read_array(part.data, settings).shape[:2]
    return read_size(part.data, _limits(settings))


def _largest_size(size: tuple[int, ...], fit: Fit) -> tuple[int, ...]:
    """Give the size after fitting, at most: going down to a multiple of the factor takes a little off."""
    if fit.size is not None:
        return fit.size
    if fit.max_side is None or max(size) <= fit.max_side:
        return size
    return tuple(max(1, math.ceil(side * fit.max_side / max(size))) for side in size)


def _read_array(data: bytes, settings: Settings) -> np.ndarray:
    if not data:
        raise VistokError(ErrorCode.EMPTY_BODY, "expected a picture, got 0 bytes")
    if len(data) > settings.max_body_bytes:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"expected at most {settings.max_body_bytes} bytes, got {len(data)}",
        )
    array = read_npy(data, max_elements=settings.max_pixels * 3)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise VistokError(
            ErrorCode.INVALID_SHAPE, f"expected a uint8 array (h w 3), got {array.dtype} {array.shape}"
        )
    return array
