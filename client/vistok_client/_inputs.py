"""Pictures, arrays and grids as bodies to send: their bytes and media types."""

import io
import mimetypes
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from vistok_client.errors import InvalidInput
from vistok_protocol import media_types
from vistok_protocol.errors import VistokError
from vistok_protocol.npy import write_npy
from vistok_protocol.tokens import TokenGrid

Picture = str | PathLike[str] | bytes | IO[bytes] | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, an open binary file, a PIL image, or a uint8 array (height width 3)."""

WholeGrid = TokenGrid | bytes | bytearray | memoryview
"""A token grid, or its bytes."""

Grid = WholeGrid | ArrayLike
"""A token grid, its bytes, or ids alone (h w [k])."""

UNKNOWN_TYPE = "application/octet-stream"
SIGNATURES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
    b"\x93NUMPY": media_types.NPY,
}
# The file that holds an image of each mode as it is.
FILES = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"), "PNG"),
    **dict.fromkeys(("CMYK", "F", "I"), "TIFF"),
}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 1},
    # Said, because an image from a TIFF remembers its compression, which may be a lossy one.
    "TIFF": {"compression": "raw"},
}


@dataclass(frozen=True)
class Body:
    """What is sent for one input."""

    content: bytes
    media_type: str


def picture_body(picture: Picture) -> Body:
    """Return the body for one picture; InvalidInput, or OSError when a file cannot be read."""
    match picture:
        case str() | PathLike():
            return _file_body(Path(picture).read_bytes(), str(picture))
        case bytes() | bytearray() | memoryview():
            return _file_body(bytes(picture), "")
        case np.ndarray():
            return array_body(picture)
        case Image.Image():
            return _image_body(picture)
    if hasattr(picture, "read"):
        return _read_body(picture)
    raise InvalidInput(
        "expected a picture as a path, bytes, binary file, PIL image or uint8 array, "
        f"got {type(picture).__name__}"
    )


def array_body(values: ArrayLike) -> Body:
    """Return the body for an array, or for what numpy makes one of (nested lists, tensors in main memory)."""
    try:
        return Body(write_npy(np.asarray(values)), media_types.NPY)
    except (VistokError, ValueError, TypeError) as error:
        raise InvalidInput(f"expected an array of integers or floats: {error}") from error


def grid_body(grid: Grid) -> Body:
    """Return the body for a grid, or for ids alone; InvalidInput."""
    if isinstance(grid, WholeGrid):
        return Body(read_grid(grid).to_bytes(), media_types.TOKENS)
    return array_body(grid)


def read_grid(grid: WholeGrid) -> TokenGrid:
    """Return a grid that may come as its bytes; InvalidInput when they are not."""
    if isinstance(grid, TokenGrid):
        return grid
    try:
        return TokenGrid.from_bytes(grid)
    except VistokError as error:
        raise InvalidInput(str(error)) from error


def media_type_of(content: bytes, name: str) -> str:
    """Look at the bytes, which are right more often than names; the service has the last word."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return media_types.WEBP
    for signature, media_type in SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    return mimetypes.guess_type(name)[0] or UNKNOWN_TYPE


def _file_body(content: bytes, name: str) -> Body:
    if not content:
        raise InvalidInput(f"expected a picture, got an empty file {name}".rstrip())
    return Body(content, media_type_of(content, name))


def _read_body(file: IO[Any]) -> Body:
    content = file.read()
    if not isinstance(content, bytes):
        raise InvalidInput("expected a file opened in binary mode ('rb'), got one that reads as text")
    return _file_body(content, str(getattr(file, "name", "")))


def _image_body(image: Image.Image) -> Body:
    """Send plain colours as an array, and what the service interprets (profile, alpha, depth) as a file."""
    try:
        upright = _in_mode_of_files(ImageOps.exif_transpose(image))
        profile = upright.info.get("icc_profile")
        if upright.mode in ("RGB", "L") and not profile and not upright.has_transparency_data:
            return array_body(np.asarray(upright.convert("RGB")))
        stream = io.BytesIO()
        file_format = FILES[upright.mode]
        upright.save(stream, file_format, icc_profile=profile, **SAVE_OPTIONS[file_format])
    # Pillow reads files late: a damaged one shows here.
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidInput(f"the picture cannot be read: {error}") from error
    return Body(stream.getvalue(), Image.MIME[file_format])


def _in_mode_of_files(image: Image.Image) -> Image.Image:
    if image.mode in FILES:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode.startswith("I;16"):
        return image.convert("I")
    colours = image.convert("RGB")
    # A profile is about the values in a file, not about HSV, LAB and the like.
    colours.info.pop("icc_profile", None)
    return colours
