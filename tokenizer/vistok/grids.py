"""Pictures of any size to token grids and back: what the command line, the service and bulk runs share."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vistok.media.fitting import Fit, prepare
from vistok.media.image import to_rgb
from vistok.media.pixels import to_model, to_uint8
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize, TokenGrid

_ANY_SIZE = Fit()


def encode_picture(
    tokenizer: VisualTokenizer, picture: np.ndarray | Image.Image, fit: Fit = _ANY_SIZE
) -> TokenGrid:
    """Give the token grid of a PIL image or a uint8 array `(h w 3)` of any size."""
    pixels = np.asarray(to_rgb(picture)) if isinstance(picture, Image.Image) else picture
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise VistokError(
            ErrorCode.INVALID_SHAPE, f"expected a uint8 array (h w 3), got {pixels.dtype} {pixels.shape}"
        )
    prepared = prepare(pixels, fit, tokenizer.factor)
    ids = tokenizer.encode(to_model(prepared.pixels[None]))[0]
    return make_grid(tokenizer, ids.cpu().numpy(), prepared.size)


def decode_grid(tokenizer: VisualTokenizer, grid: TokenGrid, any_fingerprint: bool = False) -> np.ndarray:
    """Give the picture of a grid as uint8 `(h w 3)`, in the size that the grid says."""
    check_grid(tokenizer, grid, any_fingerprint)
    return crop(to_uint8(tokenizer.decode(_tensor(grid)))[0], grid.pixels)


def make_grid(tokenizer: VisualTokenizer, ids: np.ndarray, size: PixelSize) -> TokenGrid:
    """Put ids `(h w [k])` and what is needed to decode them together."""
    return TokenGrid(
        ids=ids,
        tokenizer=tokenizer.name,
        fingerprint=tokenizer.fingerprint,
        kind=tokenizer.kind,
        vocabulary_size=tokenizer.vocabulary_size,
        pixels=size,
        codebooks=tokenizer.codebooks,
    )


def check_grid(tokenizer: VisualTokenizer, grid: TokenGrid, any_fingerprint: bool = False) -> None:
    """Refuse a grid of another tokenizer, unless any will do, and one that shows more than its ids cover."""
    if not any_fingerprint and grid.fingerprint != tokenizer.fingerprint:
        raise VistokError(
            ErrorCode.FINGERPRINT_MISMATCH,
            f"expected a grid of {tokenizer.name} ({tokenizer.fingerprint}), "
            f"got one of {grid.tokenizer} ({grid.fingerprint}); any_fingerprint decodes it all the same",
        )
    tokenizer.check_ids(grid.ids[None])
    rows, columns = (side * tokenizer.factor for side in grid.shape)
    if grid.pixels.height > rows or grid.pixels.width > columns:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected pixels of at most {rows} x {columns}, which ids {grid.shape} cover, "
            f"got {grid.pixels.height} x {grid.pixels.width}",
        )


def crop(picture: np.ndarray, size: PixelSize) -> np.ndarray:
    """Keep the part of `(H W 3)` that a grid shows."""
    return picture[: size.height, : size.width]


def _tensor(grid: TokenGrid) -> Tensor:
    return torch.from_numpy(grid.ids[None])
