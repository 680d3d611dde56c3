"""Clips of any size to token grids and back, a few frames at a time."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import torch

from vistok.grid_rules import check_grid, crop, make_grid
from vistok.media.fitting import Fit, prepare
from vistok.media.pixels import to_model, to_uint8
from vistok.pixel_rules import check_picture
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.tokens import PixelSize, TokenGrid

_ANY_SIZE = Fit()


def encode_clip(
    tokenizer: VisualTokenizer,
    frames: Iterable[np.ndarray],
    fps: Fraction | None = None,
    fit: Fit = _ANY_SIZE,
) -> TokenGrid:
    """Give the token grid of frames, each uint8 `(h w 3)`, all of one size; only the ids are kept of them.

    Raises VistokError: INVALID_SHAPE for anything else, INVALID_REQUEST for no frame at all.
    """
    stream = tokenizer.stream_encoder()
    found = []
    for frame in frames:
        check_picture(frame)
        prepared = prepare(frame, fit, tokenizer.factor)
        found.append(stream.push(to_model(prepared.pixels[None]).unsqueeze(2)))
    ids = torch.cat((*found, stream.finish()), dim=1)
    size = PixelSize(prepared.size.height, prepared.size.width, stream.frames, fps)
    return make_grid(tokenizer, ids[0].cpu().numpy(), size)


def decode_clip(
    tokenizer: VisualTokenizer, grid: TokenGrid, any_fingerprint: bool = False
) -> Iterator[np.ndarray]:
    """Give the frames of a grid one by one, each uint8 `(h w 3)`, in the size and the number that it says."""
    check_grid(tokenizer, grid, any_fingerprint)
    return _frames(tokenizer, grid)


def _frames(tokenizer: VisualTokenizer, grid: TokenGrid) -> Iterator[np.ndarray]:
    stream = tokenizer.stream_decoder()
    left = grid.pixels.frames or 1
    for latent in torch.from_numpy(grid.ids[None]).split(1, dim=1):
        frames = to_uint8(stream.push(latent)[0, :, :left].movedim(1, 0))
        left -= len(frames)
        yield from (crop(frame, grid.pixels) for frame in frames)
