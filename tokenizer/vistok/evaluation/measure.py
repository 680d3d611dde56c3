"""What a tokenizer does to pictures: distortion, use of the vocabulary, and how that looks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from statistics import fmean

import numpy as np
import torch
from PIL import Image

from vistok.evaluation.psnr import psnr
from vistok.evaluation.sheets import stack, strip
from vistok.evaluation.ssim import ssim
from vistok.grids import decode_grid, encode_picture
from vistok.media.pixels import to_model
from vistok.media.sources import PictureSource
from vistok.quantizers.usage import CodebookUsage
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import VistokError
from vistok_protocol.tokens import TokenGrid

logger = logging.getLogger(__name__)

_SHOWN_HEIGHT = 256
_GAP = 8


@dataclass(frozen=True)
class PictureResult:
    """One picture, its round trip (both uint8 `(h w 3)`), and what was measured."""

    name: str
    original: np.ndarray
    reconstruction: np.ndarray
    grid: TokenGrid
    psnr: float
    ssim: float


@dataclass
class Summary:
    """Means over the pictures measured so far; `psnr` in dB."""

    pictures: int = 0
    psnr: float = 0.0
    ssim: float = 0.0

    @classmethod
    def of(cls, results: list[PictureResult]) -> "Summary":
        """Average over pictures, each counting the same."""
        return cls(len(results), fmean(r.psnr for r in results), fmean(r.ssim for r in results))


def measure(
    tokenizer: VisualTokenizer, source: PictureSource, usage: CodebookUsage
) -> Iterator[PictureResult]:
    """Take each picture through one round trip at its own size, counting its ids into `usage`.

    A picture that cannot be read is left out, with a warning in the log.
    """
    for index in range(len(source)):
        try:
            original = source.picture(index)
        except VistokError as error:
            logger.warning("left out: %s", error)
            continue
        grid = encode_picture(tokenizer, original)
        usage.add(torch.from_numpy(grid.ids))
        reconstruction = decode_grid(tokenizer, grid)
        similarity = ssim(to_model(original[None]), to_model(reconstruction[None])).item()
        yield PictureResult(
            source.name(index), original, reconstruction, grid, psnr(original, reconstruction), similarity
        )


def bits_per_pixel(tokenizer: VisualTokenizer) -> float:
    """Give the bits of one position's ids, over the pixels of that position (after the first of a clip)."""
    pixels = tokenizer.factor**2 * tokenizer.temporal_factor
    return tokenizer.codebooks * ceil(log2(tokenizer.vocabulary_size)) / pixels


def side_by_side(results: list[PictureResult]) -> Image.Image:
    """Draw each original beside its reconstruction, one picture a row."""
    rows = [
        strip((one.original, one.reconstruction), _SHOWN_HEIGHT / len(one.original), _GAP) for one in results
    ]
    return stack(rows, _GAP)
