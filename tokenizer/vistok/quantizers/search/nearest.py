"""The nearest code of each token, without ever holding a row of distances for all of them.

Nearest by distance is largest by `<x, e> - |e|^2 / 2`: one matrix product, which is both faster and
closer to the exact answer than expanding the square (rounding noise of |x|^2 drowns near ties). Work
goes in tiles of tokens and codes. All tiles have the same tokens, the last one filled up, so that the
arithmetic of a token, and with it its id, does not depend on how many others it came with.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.search.tiles import in_tiles

# Scores of a tile, 256 x 4096 float32, are 4 MiB and stay in a core's caches, as its codes mostly do. Few
# rows would read the codes too often, many would be mostly padding where tokens are few.
_ROWS = 256
_COLUMNS = 4096
# argmax is slow on CPUs and amax is not: find the block of the winner first, then the winner in it.
_BLOCK = 128


def largest_score(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    """Give the ids `(n)` int64 of the largest `<token, code> + offset`; the lowest id wins ties.

    Args:
        tokens: `(n d)` float32.
        codes: `(k d)` float32.
        offsets: `(k)` float32: `offsets_of_distance(codes)` for the nearest by distance; zeros for the
            largest inner product, which between unit vectors is the smallest angle.
    """
    if torch.compiler.is_exporting():
        # An exported program must run without this package, and for any number of tokens.
        return torch.addmm(offsets, tokens, codes.T).argmax(dim=1)
    if torch.compiler.is_compiling():
        return _opaque_largest_score(tokens, codes, offsets)
    return _largest_score(tokens, codes, offsets)


@torch.no_grad()
def largest_scores(tokens: Tensor, codes: Tensor, offsets: Tensor, count: int) -> Tensor:
    """Give the ids `(n count)` of the `count` largest scores, best first; arguments as of `largest_score`."""

    def best(tile: Tensor) -> Tensor:
        return torch.addmm(offsets, tile, codes.T).topk(count, dim=1).indices

    return in_tiles(best, max(_ROWS * _COLUMNS // len(codes), 1), tokens)


def offsets_of_distance(codes: Tensor) -> Tensor:
    """Give the offsets `(k)` with which the largest score of codes `(k d)` is the smallest distance."""
    return in_tiles(lambda tile: -0.5 * tile.square().sum(dim=1), _COLUMNS, codes)


@torch.no_grad()
def _largest_score(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    search = cuda_kernel() if tokens.is_cuda else None
    return (search or largest_score_in_tiles)(tokens, codes, offsets)


@functools.cache
def cuda_kernel() -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """Give `largest_score` as one CUDA kernel; None where triton is missing or cannot launch one."""
    try:
        from vistok.quantizers.search import triton_nearest
    except ImportError:
        return None
    return triton_nearest.largest_score if triton_nearest.can_launch() else None


def largest_score_in_tiles(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    """Give what `largest_score` gives, with no kernel of our own."""
    ids = torch.empty(len(tokens), dtype=torch.int64, device=tokens.device)
    scores = tokens.new_empty(_ROWS, min(_COLUMNS, len(codes)))
    for start in range(0, len(tokens), _ROWS):
        tile = tokens[start : start + _ROWS]
        filled = functional.pad(tile, (0, 0, 0, _ROWS - len(tile)))
        ids[start : start + _ROWS] = _best_of_tile(filled, codes, offsets, scores)[: len(tile)]
    return ids


def _best_of_tile(tile: Tensor, codes: Tensor, offsets: Tensor, scores: Tensor) -> Tensor:
    """Give the ids of a tile of tokens `(rows d)`; scores `(rows columns)` are what it may write to."""
    best = ids = None
    for start in range(0, len(codes), _COLUMNS):
        some = codes[start : start + _COLUMNS]
        out = scores if len(some) == scores.shape[1] else tile.new_empty(len(tile), len(some))
        torch.addmm(offsets[start : start + _COLUMNS], tile, some.T, out=out)
        largest, columns = _first_maximum(out)
        if best is None or ids is None:
            best, ids = largest, columns
        else:
            better = largest > best
            best, ids = torch.where(better, largest, best), torch.where(better, columns + start, ids)
    assert ids is not None
    return ids


def _first_maximum(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Give the largest value of each row of `(rows k)`, and its first column."""
    if scores.is_cuda or scores.shape[1] % _BLOCK:
        largest, columns = scores.max(dim=1)
        return largest, columns
    blocks = scores.unflatten(1, (-1, _BLOCK))
    largest, block = blocks.amax(dim=2).max(dim=1)
    inside = blocks[torch.arange(len(scores)), block].argmax(dim=1)
    return largest, block * _BLOCK + inside


# To a compiler the search is one operation, so that it neither unrolls the tiles nor lays them side by side.
@torch.library.custom_op("vistok::largest_score", mutates_args=())
def _opaque_largest_score(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    return _largest_score(tokens, codes, offsets)


@_opaque_largest_score.register_fake
def _(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    return tokens.new_empty(tokens.shape[0], dtype=torch.int64)
