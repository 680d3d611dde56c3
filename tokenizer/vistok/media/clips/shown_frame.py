"""A decoded video frame to RGB as a viewer shows it: its colours, proportions, orientation and size."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image

from vistok.media.clips.wide_colours import to_standard_colours

# Exact to one level, and the same on every processor.
_EXACTLY = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# What frames say of their matrix (ISO/IEC 23091-4), and swscale's names for it.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_BT2020_PRIMARIES = 9
# From this height on, a viewer takes unmarked colours for those of high definition.
_HIGH_DEFINITION_ROWS = 720
# Beyond these proportions of a pixel, the header is damaged.
_THINNEST, _WIDEST = Fraction(1, 20), Fraction(20)


@dataclass(frozen=True)
class Orientation:
    """How the stored picture is turned: first rows and columns change places, then the sides are flipped."""

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Read a frame's display matrix: the nearest of the eight ways in which a picture can lie."""
        data = _display_matrix(frame)
        if data is None:
            return cls()
        # x goes to a*x + c*y, and y to b*x + d*y.
        a, b, _, c, d = np.frombuffer(data[:20], np.int32).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def applied(self, pixels: np.ndarray) -> np.ndarray:
        """Turn `(h w 3)` upright."""
        pixels = pixels.transpose(1, 0, 2) if self.transposed else pixels
        pixels = pixels[::-1] if self.flip_rows else pixels
        pixels = pixels[:, ::-1] if self.flip_columns else pixels
        return np.ascontiguousarray(pixels)


class Showing:
    """How the frames of one clip become RGB; decided by its first frame, so that all have one size.

    Attributes:
        height: of the frames as shown.
        width: of the frames as shown.
    """

    def __init__(
        self,
        first: av.VideoFrame,
        pixel_width: Fraction | None,
        true_size: tuple[int, int] | None,
        max_side: int | None,
    ) -> None:
        """Plan for frames like `first`.

        Args:
            first: the clip's first frame.
            pixel_width: how wide a pixel is shown for its height, where the clip says it.
            true_size: height and width of the part from the top left corner that is shown.
            max_side: shrink so that the longer side has at most this many pixels.
        """
        self._coded = first.height, first.width
        self._crop = true_size or self._coded
        self._orientation = Orientation.of(first)
        rows, columns = _shown_size(*self._crop, pixel_width, max_side)
        self._stored = rows, columns
        self.height, self.width = (columns, rows) if self._orientation.transposed else (rows, columns)
        self._reformatter = VideoReformatter()

    def has_its_size(self, frame: av.VideoFrame) -> bool:
        """Say whether a frame is as large as the first was."""
        return (frame.height, frame.width) == self._coded

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """Bring a frame of any size and format to uint8 `(height width 3)`."""
        pixels = self._cropped_rgb(frame) if self._crop != self._coded else self._rgb(frame, *self._stored)
        return self._orientation.applied(to_standard_colours(pixels, frame.color_trc, frame.color_primaries))

    def _cropped_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        # Scaling first would mix the part that is not shown into the last row and column.
        pixels = self._rgb(frame, *self._coded)[: self._crop[0], : self._crop[1]]
        if self._crop == self._stored:
            return pixels
        rows, columns = self._stored
        return np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC))

    def _rgb(self, frame: av.VideoFrame, rows: int, columns: int) -> np.ndarray:
        alpha = _has_alpha(frame)
        converted = self._reformatter.reformat(
            frame,
            columns,
            rows,
            # Into planes, swscale's exact way takes a quarter of the time that it takes to packed RGB.
            "rgba" if alpha else "gbrp",
            src_colorspace=_matrix(frame),
            src_color_range=frame.color_range,
            dst_color_range=ColorRange.JPEG,
            interpolation=_EXACTLY,
            # The calling process decides how many threads it has; swscale would start one for each core.
            threads=1,
        )
        pixels = converted.to_ndarray()
        return _on_white(pixels) if alpha else pixels


def _display_matrix(frame: av.VideoFrame) -> bytes | None:
    try:
        # PyAV annotates its container of side data as a dict, which it is not.
        matrix = cast(SideDataContainer, frame.side_data).get(Type.DISPLAYMATRIX)
    except ValueError:
        # Among its data is a kind that PyAV has no name for. The angle is still told, though not flips.
        quarter = round(frame.rotation / 90) % 4
        a, b = [(1, 0), (0, -1), (-1, 0), (0, 1)][quarter]
        return np.array([a, b, 0, -b, a], np.int32).tobytes()
    return None if matrix is None else bytes(matrix)


def _shown_size(
    rows: int, columns: int, pixel_width: Fraction | None, max_side: int | None
) -> tuple[int, int]:
    """Give the height and width as shown, before turning."""
    width = Fraction(columns)
    if pixel_width is not None and _THINNEST <= pixel_width <= _WIDEST:
        width *= pixel_width
    longest = max(Fraction(rows), width)
    scale = Fraction(max_side) / longest if max_side is not None and longest > max_side else Fraction(1)
    return max(1, round(rows * scale)), max(1, round(width * scale))


def _matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Give the matrix between a frame's colours and RGB, guessed as by viewers where the clip is silent."""
    if frame.format.is_rgb:
        return None
    if frame.color_primaries == _BT2020_PRIMARIES:
        guess = Colorspace.BT2020
    else:
        guess = Colorspace.ITU709 if frame.height >= _HIGH_DEFINITION_ROWS else Colorspace.ITU601
    return _MATRICES.get(frame.colorspace, guess)


def _has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Lay uint8 `(h w 4)` on white, as pictures do."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colours)
    weight = alpha.astype(np.uint16)
    return ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
