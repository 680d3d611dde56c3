"""Which of the Leech lattice's 196,560 shortest vectors has the largest inner product, without trying all.

Each of the three shapes (see `leech_vectors.py`) has its own exact search, and the best of three wins:

- on an octad, signs follow the token's: 2 (sum |x| - 2 min |x| where that makes oddly many minus signs);
- on a word with signs s, the 3 goes where it gains most: sum s x - 4 min s x. The sums and the minima over
  half of the places take 4,096 values each, put together from 64 for every six places;
- a pair: four times the two largest |x|.

Tokens lie side by side in the last axis, so that every step runs along them. Sums are written out, term by
term: `torch.sum` adds in an order that depends on a token's place, and ids must not depend on company.
"""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from vistok.quantizers.lattice.leech_vectors import DIMENSIONS, FIRST_OF_PAIRS, FIRST_OF_WORDS, PATTERNS

# What a tile needs at a time, some 30,000 numbers per token, stays in a core's caches.
_TOKENS_PER_TILE = 64


def leech_rows(tokens: Tensor, octads: Tensor, signs: Tensor, parity: Tensor) -> Tensor:
    """Give the rows `(n)` int64 of the vectors with the largest inner product; no gradients.

    Args:
        tokens: `(n 24)` float32.
        octads: `(759 8)` int64, the places of each.
        signs: `(4096 24)` float32, -1 where a word has a bit.
        parity: `(4096)` int64, the last twelve bits of each word as a number.
    """
    if torch.compiler.is_exporting():
        # An exported program must run without this package, and for any number of tokens.
        return _rows_of_tile(tokens, octads, signs, parity)
    if torch.compiler.is_compiling():
        return _opaque_rows(tokens, octads, signs, parity)
    return _rows(tokens, octads, signs, parity)


@torch.no_grad()
def _rows(tokens: Tensor, octads: Tensor, signs: Tensor, parity: Tensor) -> Tensor:
    tiles = [_rows_of_tile(tile, octads, signs, parity) for tile in tokens.split(_TOKENS_PER_TILE)]
    return torch.cat(tiles)


def _rows_of_tile(tokens: Tensor, octads: Tensor, signs: Tensor, parity: Tensor) -> Tensor:
    found = _on_octads(tokens, octads), _on_words(tokens, signs, parity), _on_pairs(tokens)
    scores = torch.stack([score for score, _ in found])
    rows = torch.stack([row for _, row in found])
    return rows.gather(0, scores.argmax(dim=0, keepdim=True)).squeeze(0)


def _on_octads(tokens: Tensor, octads: Tensor) -> tuple[Tensor, Tensor]:
    """Give the best score and row `(n)` among those with eight twos."""
    on_octads = tokens.T.index_select(0, octads.T.flatten()).unflatten(0, (8, -1))
    sizes = on_octads.abs()
    odd = reduce(torch.logical_xor, (on_octads < 0).unbind())
    score, octad = (2 * (reduce(torch.add, sizes.unbind()) - 2 * odd * sizes.amin(dim=0))).max(dim=0)
    on_octad = tokens.gather(1, octads[octad])
    minus = on_octad < 0
    smallest = on_octad.abs().argmin(dim=1, keepdim=True)
    flip = minus.sum(dim=1, keepdim=True) % 2 == 1
    minus = minus ^ torch.zeros_like(minus).scatter(1, smallest, flip)
    places = 2 ** torch.arange(6, -1, -1, device=tokens.device)
    return score, octad * PATTERNS + (minus[:, :7] * places).sum(dim=1)


def _on_words(tokens: Tensor, signs: Tensor, parity: Tensor) -> tuple[Tensor, Tensor]:
    """Give the best score and row `(n)` among those with a three."""
    # The words of the messages 0 to 63 have every pattern on the places 6 to 11.
    patterns = signs[:64, 6:12].reshape(1, 64, 6, 1)
    signed = patterns * tokens.T.contiguous().reshape(4, 1, 6, -1)
    sums = _over_halves(reduce(torch.add, signed.unbind(dim=2)), torch.add)
    minima = _over_halves(signed.amin(dim=2), torch.minimum)
    total = sums[0] + sums[1].index_select(0, parity)
    least = torch.minimum(minima[0], minima[1].index_select(0, parity))
    score, word = (total - 4 * least).max(dim=0)
    place = (signs[word] * tokens).argmin(dim=1)
    return score, FIRST_OF_WORDS + word * DIMENSIONS + place


def _over_halves(of_sextets: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Put values `(4 64 n)` of patterns on six places together to `(2 4096 n)` on twelve."""
    first, second = of_sextets.unflatten(0, (2, 2)).unbind(dim=1)
    return combine(first.unsqueeze(2), second.unsqueeze(1)).flatten(1, 2)


def _on_pairs(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Give the best score and row `(n)` among those with two fours."""
    sizes, places = tokens.abs().topk(2, dim=1)
    places = places.sort(dim=1).values
    first, second = places.unbind(dim=1)
    pair = first * (2 * DIMENSIONS - 1 - first) // 2 + second - first - 1
    minus_first, minus_second = (tokens.gather(1, places) < 0).long().unbind(dim=1)
    return 4 * (sizes[:, 0] + sizes[:, 1]), FIRST_OF_PAIRS + 4 * pair + 2 * minus_first + minus_second


# To a compiler the search is one operation, so that it neither unrolls the tiles nor lays them side by side.
@torch.library.custom_op("vistok::leech_rows", mutates_args=())
def _opaque_rows(tokens: Tensor, octads: Tensor, signs: Tensor, parity: Tensor) -> Tensor:
    return _rows(tokens, octads, signs, parity)


@_opaque_rows.register_fake
def _(tokens: Tensor, octads: Tensor, signs: Tensor, parity: Tensor) -> Tensor:
    return tokens.new_empty(tokens.shape[0], dtype=torch.int64)
