"""The nearest code of each token, without ever holding a row of distances for all of them.

Nearest by distance is largest by `<x, e> - |e|^2 / 2`: one matrix product, which is both faster and
closer to the exact answer than expanding the square (rounding noise of |x|^2 drowns near ties). Work
goes in tiles of tokens. All tiles of a codebook have the same shape, the last one filled up, so that the
arithmetic of a token, and with it its id, does not depend on how many others it came with.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

# Scores held at a time: 2^21 float32 are 8 MiB, which stays in a core's caches.
_SCORES_PER_TILE = 2**21
_FEWEST_ROWS = 16
# argmax is slow on CPUs and amax is not: find the block of the winner first, then the winner in it.
_BLOCK = 128


def nearest_by_distance(tokens: Tensor, codes: Tensor) -> Tensor:
    """Give ids `(n)` int64 of the codes `(k d)` nearest to tokens `(n d)`; the lowest id wins ties."""
    return _largest_score(tokens, codes, -0.5 * codes.square().sum(dim=1))


def nearest_by_angle(tokens: Tensor, codes: Tensor) -> Tensor:
    """Give ids `(n)` int64 of the unit codes `(k d)` with the largest cosine to tokens `(n d)`."""
    return _largest_score(tokens, codes, codes.new_zeros(codes.shape[0]))


def _largest_score(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    count = tokens.shape[0]
    rows = max(_FEWEST_ROWS, _SCORES_PER_TILE // codes.shape[0])
    padded = functional.pad(tokens, (0, 0, 0, -count % rows))
    transposed = codes.T.contiguous()
    ids = [_argmax(torch.addmm(offsets, tile, transposed)) for tile in padded.split(rows)]
    return torch.cat(ids)[:count]


def _argmax(scores: Tensor) -> Tensor:
    """Give the first column of the largest value in each row of `(rows k)`."""
    if scores.is_cuda or scores.shape[1] % _BLOCK:
        return scores.argmax(dim=1)
    blocks = scores.unflatten(1, (-1, _BLOCK))
    block = blocks.amax(dim=2).argmax(dim=1)
    inside = blocks[torch.arange(len(scores)), block].argmax(dim=1)
    return block * _BLOCK + inside
