"""Media at the door: bodies to pictures that fit the model, pictures to bodies; on media threads."""

import math

import numpy as np

from vistok.media.fitting import Fit, Prepared, prepare
from vistok.media.image import ImageFormat, read_image, write_image
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
    unnamed = part.media_type in UNNAMED_TYPES
    if part.media_type == media_types.NPY or (unnamed and part.data.startswith(NPY_MAGIC)):
        return _read_array(part.data, settings)
    if part.media_type.startswith("image/") or unnamed:
        return read_image(part.data, Limits(settings.max_body_bytes, settings.max_pixels))
    raise VistokError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"expected a picture (image/*) or an array ({media_types.NPY}), got {part.media_type[:80]!r}",
    )


def prepare_part(part: Part, fit: Fit, factor: int, settings: Settings) -> Prepared:
    """Read a picture and fit it to the model; TOO_LARGE before anything too large for it is made."""
    picture = read_picture(part, settings)
    check_model_pixels(_largest_size(picture.shape[:2], fit), factor, settings)
    return prepare(picture, fit, factor)


def write_picture(picture: np.ndarray, media_type: str) -> bytes:
    """Encode uint8 `(h w 3)` as one of `PICTURE_TYPES`."""
    if media_type == media_types.NPY:
        return write_npy(picture)
    return write_image(picture, FORMATS[media_type])


def check_model_pixels(size: tuple[int, ...], factor: int, settings: Settings) -> None:
    """Refuse with TOO_LARGE a picture that is too large for the model once it is padded to the factor."""
    height, width = (math.ceil(side / factor) * factor for side in size)
    if height * width > settings.max_model_pixels:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"the model takes up to {settings.max_model_pixels} pixels, got {height} x {width} = "
            f"{height * width}; max_side or size make a picture smaller",
        )


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
