"""Choosing the ids of a stack together: several partial choices are followed, and the best one is kept.

The nearest code of each layer is not always what leaves the least to the layers after it. Of each partial
choice the few best codes are tried; what counts is the sum over layers of the mean squared error left over.
Letters: `m` vectors, `w` partial choices of each, `c` codes tried for each of these, `k` codes, `d` channels.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vistok.quantizers.search.tiles import in_tiles

# Floats that one tile of vectors may need at a time: 16 MiB.
_FLOATS_PER_TILE = 2**22


class Layers(Protocol):
    """What the search asks about a stack, for vectors `(m d)`; `so_far` is the sum of earlier codes."""

    def targets(self, residual: Tensor) -> Tensor:
        """Give what codes are compared with, `(m d)`."""

    def scores(self, index: int, residual: Tensor, so_far: Tensor) -> Tensor:
        """Give scores `(m k)` that are larger for nearer codes."""

    def codes(self, index: int, ids: Tensor, so_far: Tensor) -> Tensor:
        """Give codes `(m c d)` of ids `(m c)`."""

    def floats_per_vector(self) -> int:
        """Give how many numbers the scores of one vector take to compute."""


class _Beam(NamedTuple):
    """Partial choices, best first."""

    errors: Tensor
    """`(m w)`, weighted and summed over layers."""
    residuals: Tensor
    """`(m w d)`"""
    so_far: Tensor
    """`(m w d)`"""
    ids: Tensor
    """`(m w q)` of the layers so far."""


@torch.no_grad()
def beam_search(layers: Layers, vectors: Tensor, width: int, weights: Sequence[float]) -> Tensor:
    """Give the ids `(m q)` of vectors `(m d)` in as many layers as there are weights.

    Args:
        width: number of partial choices that are followed; with 1 each layer takes its nearest code.
        weights: what each layer's error counts.
    """
    rows = max(_FLOATS_PER_TILE // (layers.floats_per_vector() * width), 1)
    return in_tiles(partial(_search_tile, layers, width, weights), rows, vectors)


def _search_tile(layers: Layers, width: int, weights: Sequence[float], vectors: Tensor) -> Tensor:
    start = vectors.unsqueeze(1)
    nothing_yet = torch.empty(vectors.shape[0], 1, 0, dtype=torch.int64, device=vectors.device)
    beam = _Beam(start.new_zeros(start.shape[:2]), start, torch.zeros_like(start), nothing_yet)
    for index, weight in enumerate(weights):
        is_last = index == len(weights) - 1
        beam = _step(layers, beam, index, weight, tried=width, kept=1 if is_last else width)
    return beam.ids[:, 0]


def _step(layers: Layers, beam: _Beam, index: int, weight: float, tried: int, kept: int) -> _Beam:
    """Continue every partial choice by the best codes of one layer, and keep the best of all these."""
    residual, so_far = beam.residuals.flatten(0, 1), beam.so_far.flatten(0, 1)
    scores = layers.scores(index, residual, so_far)
    ids = scores.topk(min(tried, scores.shape[1]), dim=1).indices
    codes = layers.codes(index, ids, so_far)
    errors = (layers.targets(residual).unsqueeze(1) - codes).square().mean(dim=2)
    # Continuations `(m w c)` of a vector lie side by side, so that one number names choice and code.
    errors = (beam.errors.unsqueeze(2) + weight * errors.unflatten(0, beam.errors.shape)).flatten(1)
    errors, best = errors.topk(min(kept, errors.shape[1]), dim=1, largest=False)
    before = best // ids.shape[1]
    chosen = _rows(codes.unflatten(0, beam.errors.shape).flatten(1, 2), best)
    newest = ids.unflatten(0, beam.errors.shape).flatten(1).gather(1, best)
    return _Beam(
        errors,
        _rows(beam.residuals, before) - chosen,
        _rows(beam.so_far, before) + chosen,
        torch.cat([_rows(beam.ids, before), newest.unsqueeze(2)], dim=2),
    )


def _rows(rows: Tensor, places: Tensor) -> Tensor:
    """Give those of each vector's rows `(m w d)` that places `(m c)` say, `(m c d)`."""
    return rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))
