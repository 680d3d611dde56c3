"""Pictures of any size to token grids and back: what the command line and bulk runs share."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vistok.clips import decode_clip, encode_clip
from vistok.grid_rules import check_grid, crop, make_grid
from vistok.media.fitting import Fit, prepare
from vistok.media.image import to_rgb
from vistok.media.pixels import to_model, to_uint8
from vistok.pixel_rules import check_picture
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.tokens import TokenGrid

_ANY_SIZE = Fit()


def encode_picture(
    tokenizer: VisualTokenizer, picture: np.ndarray | Image.Image, fit: Fit = _ANY_SIZE
) -> TokenGrid:
    """Give the token grid of a PIL image or a uint8 array `(h w 3)` of any size.

    To a video tokenizer it is a clip of one frame.
    """
    pixels = np.asarray(to_rgb(picture)) if isinstance(picture, Image.Image) else picture
    if tokenizer.kind == "video":
        return encode_clip(tokenizer, [pixels], fit=fit)
    check_picture(pixels)
    prepared = prepare(pixels, fit, tokenizer.factor)
    ids = tokenizer.encode(to_model(prepared.pixels[None]))[0]
    return make_grid(tokenizer, ids.cpu().numpy(), prepared.size)


def decode_grid(tokenizer: VisualTokenizer, grid: TokenGrid, any_fingerprint: bool = False) -> np.ndarray:
    """Give a grid's picture, uint8 `(h w 3)`, or its clip, `(t h w 3)`, in the size that the grid says."""
    if tokenizer.kind == "video":
        return np.stack(list(decode_clip(tokenizer, grid, any_fingerprint)))
    check_grid(tokenizer, grid, any_fingerprint)
    return crop(to_uint8(tokenizer.decode(_tensor(grid)))[0], grid.pixels)


def _tensor(grid: TokenGrid) -> Tensor:
    return torch.from_numpy(grid.ids[None])
