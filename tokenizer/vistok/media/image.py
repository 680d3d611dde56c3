"""Encoded pictures to RGB arrays, as a viewer would show them, and back."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from vistok.media.endings import by_ending
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError

ImageFormat = Literal["png", "webp", "jpeg"]

_READABLE = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_FORMATS: dict[str, ImageFormat] = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
_SAVE_OPTIONS: dict[ImageFormat, dict[str, int]] = {
    # Level 1 is several times faster than the default for a few per cent more bytes.
    "png": {"compress_level": 1},
    "webp": {"quality": 90},
    "jpeg": {"quality": 92},
}
# What the decoders of the different formats raise for files that are cut short or damaged.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,  # a fraction where a whole number belongs
    EOFError,
    struct.error,
    LookupError,
    ArithmeticError,
)


def read_image(data: bytes, limits: Limits) -> np.ndarray:
    """Decode a picture to uint8 `(h w 3)` RGB.

    The picture stands upright (EXIF), lies on white where it is transparent, and is in sRGB; 16-bit,
    grey, palette and CMYK pictures are converted, and of an animation the first frame is taken.

    Raises:
        VistokError: EMPTY_BODY, TOO_LARGE (bytes, or pixels as the header tells them), UNREADABLE_MEDIA.
    """
    with _opened(data, limits) as picture:
        return np.asarray(to_rgb(picture))


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """Read the header, hold it against the limits, and say in our words what is wrong with the picture."""
    if not data:
        raise VistokError(ErrorCode.EMPTY_BODY, "expected a picture, got 0 bytes")
    if len(data) > limits.max_bytes:
        raise VistokError(
            ErrorCode.TOO_LARGE, f"expected at most {limits.max_bytes} bytes, got a picture of {len(data)}"
        )
    try:
        with Image.open(BytesIO(data), formats=_READABLE) as picture:
            limits.check_size(picture.height, picture.width)
            yield picture
    except Image.DecompressionBombError as bomb:
        raise VistokError(
            ErrorCode.TOO_LARGE, f"expected at most {limits.max_pixels} pixels: {bomb}"
        ) from None
    except UnidentifiedImageError:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA,
            f"expected a picture ({', '.join(_READABLE)}), got {len(data)} bytes starting {data[:8]!r}",
        ) from None
    except _DAMAGED as error:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA, f"the picture is damaged or cut short: {error}"
        ) from None


def write_image(pixels: np.ndarray, image_format: ImageFormat) -> bytes:
    """Encode uint8 `(h w 3)` RGB."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **_SAVE_OPTIONS[image_format])
    return buffer.getvalue()


def format_of(path: Path) -> ImageFormat:
    """Give the format that a file's name asks for."""
    return by_ending(path, _FORMATS)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Bring any picture to upright 8-bit sRGB without transparency."""
    profile = picture.info.get("icc_profile")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _to_eight_bits(picture)
    if not picture.has_transparency_data:
        return _to_srgb(picture, profile).convert("RGB")
    picture = picture.convert("RGBA")
    colours = _to_srgb(picture.convert("RGB"), profile)
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(colours, white, picture.getchannel("A"))


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    # 16-bit grey arrives as 16- or 32-bit whole numbers: its high byte is what a viewer shows.
    whole = values.astype(np.int64) >> 8 if values.dtype.kind in "iu" else np.nan_to_num(values)
    return Image.fromarray(np.clip(whole, 0, 255).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if profile is None or picture.mode not in ("RGB", "L", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        # A profile that cannot be used is ignored, as viewers do.
        return picture
    return picture if converted is None else converted
