"""Bodies to pictures that fit the model, pictures to bodies."""

import numpy as np

from vistok.media.fitting import Fit, Prepared, prepare
from vistok.media.image import ImageFormat, read_image, write_image
from vistok.media.limits import Limits
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import read_npy, write_npy
from vistok_server.parts import Part
from vistok_server.settings import Settings
from vistok_server.sizes import model_shape

FORMATS: dict[str, ImageFormat] = {
    media_types.PNG: "png",
    media_types.WEBP: "webp",
    media_types.JPEG: "jpeg",
}


def read_fitting(part: Part, fit: Fit, factor: int, settings: Settings) -> Prepared:
    """Read a picture and fit it to the model; a body without a type says by itself what it is.

    Raises EMPTY_BODY, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, UNREADABLE_MEDIA, INVALID_ARRAY, INVALID_SHAPE.
    """
    picture = _read(part, settings)
    height, width = picture.shape[:2]
    model_shape((height, width), fit, factor, settings)  # now that the size is known, and not only told
    return prepare(picture, fit, factor)


def write_picture(picture: np.ndarray, media_type: str) -> bytes:
    """Encode uint8 `(h w 3)` as one of `FORMATS`, or as an array."""
    if media_type == media_types.NPY:
        return write_npy(picture)
    return write_image(picture, FORMATS[media_type])


def _read(part: Part, settings: Settings) -> np.ndarray:
    if part.is_array:
        return _read_array(part.data, settings)
    if part.is_picture:
        return read_image(part.data, Limits(settings.max_body_bytes, settings.max_pixels))
    raise VistokError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"expected a picture (image/*) or an array ({media_types.NPY}), got {part.media_type[:80]!r}",
    )


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
