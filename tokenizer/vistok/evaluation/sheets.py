"""Pictures beside and below each other, to be looked at."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def strip(pictures: Sequence[np.ndarray], scale: float, gap: int) -> Image.Image:
    """Draw uint8 pictures `(h w 3)` of one size beside each other.

    They are never enlarged: artefacts should be judged pixel by pixel.
    """
    height, width = pictures[0].shape[:2]
    scale = min(1, scale)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    drawn = Image.new("RGB", (len(pictures) * (size[0] + gap) - gap, size[1]), "white")
    for column, picture in enumerate(pictures):
        shown = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
        drawn.paste(shown, (column * (size[0] + gap), 0))
    return drawn


def stack(strips: Sequence[Image.Image], gap: int) -> Image.Image:
    """Draw strips below each other."""
    width = max(one.width for one in strips)
    sheet = Image.new("RGB", (width, sum(one.height + gap for one in strips) - gap), "white")
    top = 0
    for one in strips:
        sheet.paste(one, (0, top))
        top += one.height + gap
    return sheet
