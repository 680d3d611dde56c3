"""How a picture of any size comes to one that the tokenizer can take, and what of it is shown later."""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from PIL import Image

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize

FitMode = Literal["pad", "crop", "resize"]

_LARGEST_SIDE = 65_536


@dataclass(frozen=True)
class Fit:
    """How a picture comes to a size that the tokenizer can take.

    Attributes:
        max_side: first shrink the picture so that its longer side has at most this many pixels.
        fit: what bridges the difference to `size`, or without one to the next multiple of the factor.
            pad: keep everything and repeat the right and bottom edges; crop: cut the middle out;
            resize: change the proportions.
        size: height and width wanted. With pad the picture is scaled to fit inside, with crop to cover it.
    """

    max_side: int | None = None
    fit: FitMode = "pad"
    size: tuple[int, int] | None = None

    @classmethod
    def parse(
        cls, max_side: int | str | None = None, fit: str | None = None, size: str | None = None
    ) -> Self:
        """Read the values as they stand in a query or on a command line; `size` is HxW, such as 256x256."""
        modes: tuple[FitMode, ...] = get_args(FitMode)
        mode = next((known for known in modes if known == (fit or "pad")), None)
        if mode is None:
            raise VistokError(
                ErrorCode.INVALID_REQUEST, f"expected fit to be pad, crop or resize, got {fit!r}"
            )
        height_width = None
        if size is not None:
            height, _, width = size.lower().partition("x")
            height_width = _side("size", height, size), _side("size", width, size)
        side = None if max_side is None else _side("max_side", str(max_side), str(max_side))
        return cls(side, mode, height_width)


@dataclass(frozen=True)
class Prepared:
    """A picture ready for the tokenizer.

    Attributes:
        pixels: uint8 `(H W 3)`, both sides multiples of the factor.
        size: the part that a decoder shows, from the top left corner.
    """

    pixels: np.ndarray
    size: PixelSize


def prepare(picture: np.ndarray, fit: Fit, factor: int) -> Prepared:
    """Bring uint8 `(h w 3)` to sides that are multiples of `factor`."""
    picture = _shrink(picture, fit.max_side)
    height, width = fit.size or picture.shape[:2]
    # Without a size to reach, cropping and resizing go down to a multiple, so that nothing is padded.
    up = fit.size is not None or fit.fit == "pad"
    rows, columns = _multiple(height, factor, up), _multiple(width, factor, up)
    if fit.fit == "pad":
        if fit.size:
            picture = _scaled(picture, min(height / picture.shape[0], width / picture.shape[1]))
        return _pad(picture, rows, columns)
    height, width = min(height, rows), min(width, columns)
    if fit.fit == "resize":
        return _pad(_resize(picture, height, width), rows, columns)
    return _pad(_cut_middle(picture, height, width, keep_scale=fit.size is None), rows, columns)


def _pad(picture: np.ndarray, rows: int, columns: int) -> Prepared:
    """Repeat the last row and column until the picture has this size."""
    height, width = picture.shape[:2]
    if (height, width) != (rows, columns):
        picture = np.pad(picture, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
    return Prepared(picture, PixelSize(height, width))


def _cut_middle(picture: np.ndarray, height: int, width: int, keep_scale: bool) -> np.ndarray:
    if keep_scale:
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        return picture[top : top + height, left : left + width]
    scale = max(height / picture.shape[0], width / picture.shape[1])
    rows, columns = height / scale, width / scale
    top, left = max(0, picture.shape[0] - rows) / 2, max(0, picture.shape[1] - columns) / 2
    # Cut and scaled in one go: a long strip, scaled whole, might not fit in memory.
    box = (left, top, min(left + columns, picture.shape[1]), min(top + rows, picture.shape[0]))
    return _resize(picture, height, width, box)


def _shrink(picture: np.ndarray, max_side: int | None) -> np.ndarray:
    longest = max(picture.shape[:2])
    return picture if max_side is None or longest <= max_side else _scaled(picture, max_side / longest)


def _scaled(picture: np.ndarray, scale: float) -> np.ndarray:
    height, width = picture.shape[:2]
    return _resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))


def _resize(
    picture: np.ndarray, rows: int, columns: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Scale the part in `box` (left, top, right, bottom), by default everything, to `rows x columns`."""
    if box is None and picture.shape[:2] == (rows, columns):
        return picture
    scaled = Image.fromarray(picture).resize((columns, rows), Image.Resampling.LANCZOS, box)
    return np.asarray(scaled)


def _multiple(side: int, factor: int, up: bool) -> int:
    """Round to a multiple of the factor, never to zero."""
    return max(factor, (side + (factor - 1 if up else 0)) // factor * factor)


def _side(name: str, text: str, given: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= (side := int(text[:9])) <= _LARGEST_SIDE:
        shape = "HxW, such as 256x384," if name == "size" else "a number"
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected {name} to be {shape} from 1 to {_LARGEST_SIDE}, got {given!r}",
        )
    return side
