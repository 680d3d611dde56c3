"""The search of one table, for vectors in any arrangement that ends in their channels."""

import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.search.nearest import largest_score


def choose(vectors: Tensor, table: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Give the ids `(...)` of the codes with the largest `<vector, code> + offset`; no gradients.

    Args:
        vectors: `(... d)` float32.
        table: `(k d)` float32.
        offsets: `(k)` float32, of `offsets_of_distance` for the nearest code. Default: none, which between
            unit vectors is the nearest too.
    """
    table = table.detach()
    if offsets is None:
        offsets = table.new_zeros(len(table))
    ids = largest_score(vectors.detach().reshape(-1, vectors.shape[-1]), table, offsets)
    return ids.reshape(vectors.shape[:-1])


def unit(vectors: Tensor) -> Tensor:
    """Give vectors `(... d)` of any floating dtype unit length, in float32."""
    return functional.normalize(vectors.float(), dim=-1, eps=1e-6)
