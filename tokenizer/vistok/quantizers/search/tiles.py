"""Work on so many rows at a time that what it needs fits in a bounded memory."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_tiles(function: Callable[..., Tensor], rows: int, *tensors: Tensor) -> Tensor:
    """Give `function(*tensors)`, of which each row depends on that row of the tensors alone, tile by tile.

    Under a compiler there is one tile: a program is for any number of rows, and its loops are not.
    """
    if torch.compiler.is_compiling():
        return function(*tensors)
    tiles = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
    return torch.cat([function(*tile) for tile in tiles])
