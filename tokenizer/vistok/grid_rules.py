"""Which ids and grids fit a tokenizer: known from its description, without its weights and without torch."""

from typing import Protocol

import numpy as np

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import Kind, PixelSize, TokenGrid

SPACES: dict[Kind, str] = {"image": "h w", "video": "t h w"}
"""The axes of one grid, by what is tokenized."""


class Described(Protocol):
    """What the rules look at; `VisualTokenizer` has it, and so has the `TokenizerInfo` of its `describe`."""

    @property
    def name(self) -> str:
        """What it is called in grids."""

    @property
    def kind(self) -> Kind:
        """Image or video."""

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: what its ids mean."""

    @property
    def vocabulary_size(self) -> int:
        """Number of values one id can take."""

    @property
    def codebooks(self) -> int:
        """Ids per position."""

    @property
    def factor(self) -> int:
        """Pixels per id, along height and along width."""

    @property
    def temporal_factor(self) -> int:
        """Frames per id, after the first; 1 for an image tokenizer."""


def make_grid(tokenizer: Described, ids: np.ndarray, size: PixelSize) -> TokenGrid:
    """Put ids `([t] h w [k])` and what is needed to decode them together."""
    return TokenGrid(
        ids=ids,
        tokenizer=tokenizer.name,
        fingerprint=tokenizer.fingerprint,
        kind=tokenizer.kind,
        vocabulary_size=tokenizer.vocabulary_size,
        pixels=size,
        codebooks=tokenizer.codebooks,
    )


def check_grid(tokenizer: Described, grid: TokenGrid, any_fingerprint: bool = False) -> None:
    """Refuse a grid of another tokenizer, unless any will do, and one that shows more than its ids cover."""
    if not any_fingerprint and grid.fingerprint != tokenizer.fingerprint:
        raise VistokError(
            ErrorCode.FINGERPRINT_MISMATCH,
            f"expected a grid of {tokenizer.name} ({tokenizer.fingerprint}), "
            f"got one of {grid.tokenizer} ({grid.fingerprint}); any_fingerprint decodes it all the same",
        )
    check_ids(tokenizer, grid.ids[None])
    rows, columns = (side * tokenizer.factor for side in grid.shape[-2:])
    if grid.pixels.height > rows or grid.pixels.width > columns:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected pixels of at most {rows} x {columns}, which ids {grid.shape} cover, "
            f"got {grid.pixels.height} x {grid.pixels.width}",
        )
    most = 1 + (grid.shape[0] - 1) * tokenizer.temporal_factor
    if grid.kind == "video" and not most - tokenizer.temporal_factor < (grid.pixels.frames or 0) <= most:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected {most} frames, or up to {tokenizer.temporal_factor - 1} fewer, for ids {grid.shape}, "
            f"got {grid.pixels.frames}",
        )


def crop(picture: np.ndarray, size: PixelSize) -> np.ndarray:
    """Keep the part of `(H W 3)` that a grid shows."""
    return picture[: size.height, : size.width]


def check_ids(tokenizer: Described, ids: np.ndarray) -> None:
    """Refuse ids that are not whole numbers, not `(b [t] h w [k])`, or outside [0, vocabulary_size)."""
    space = f"b {SPACES[tokenizer.kind]}"
    several = tokenizer.codebooks > 1
    rank = len(space.split()) + several
    whole = ids.dtype.kind in "iu"
    if not whole or ids.ndim != rank or 0 in ids.shape or (several and ids.shape[-1] != tokenizer.codebooks):
        expected = f"({space} {tokenizer.codebooks})" if several else f"({space})"
        raise VistokError(
            ErrorCode.INVALID_SHAPE, f"expected whole numbers {expected}, got {ids.dtype} {ids.shape}"
        )
    smallest, largest = int(ids.min()), int(ids.max())
    if smallest < 0 or largest >= tokenizer.vocabulary_size:
        wrong = smallest if smallest < 0 else largest
        raise VistokError(
            ErrorCode.ID_OUT_OF_RANGE,
            f"expected ids from 0 to {tokenizer.vocabulary_size - 1} for {tokenizer.name}, got {wrong}",
        )
