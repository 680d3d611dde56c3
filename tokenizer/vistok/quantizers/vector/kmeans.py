"""K-means, over all ranks, and the drawing of vectors from a batch that it starts from."""

from collections.abc import Callable

import torch
from torch import Tensor

from vistok.quantizers.processes import gather_from_ranks
from vistok.quantizers.search.nearest import largest_score, offsets_of_distance


def kmeans(
    vectors: Tensor,
    start: Tensor,
    iterations: int,
    prepare: Callable[[Tensor], Tensor],
    sum_over_ranks: Callable[[Tensor], None],
) -> tuple[Tensor, Tensor]:
    """Give centres `(k d)` and how many vectors are nearest to each, `(k)`, of vectors `(m d)`.

    Args:
        start: the first centres `(k d)`; a centre that no vector chooses stays where it is.
        prepare: what makes a code of a mean, such as scaling to unit length.
        sum_over_ranks: adds up in place what each rank counted.
    """
    centres = prepare(start)
    counts = centres.new_ones(len(centres))
    for _ in range(iterations):
        ids = largest_score(vectors, centres, offsets_of_distance(centres))
        counts, sums = counts_and_sums(vectors, ids, len(centres))
        sum_over_ranks(counts)
        sum_over_ranks(sums)
        means = prepare(sums / counts.clamp(min=1)[:, None])
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres, counts


def counts_and_sums(vectors: Tensor, ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Give per code how many vectors `(m d)` chose it, `(k)` float, and their sum, `(k d)`."""
    counts = torch.bincount(ids, minlength=size).to(vectors.dtype)
    sums = vectors.new_zeros(size, vectors.shape[1]).index_add_(0, ids, vectors)
    return counts, sums


def draw(vectors: Tensor, count: int, synchronize: bool) -> Tensor:
    """Draw at most `count` different vectors, fewer where there are fewer, from vectors `(m d)`.

    Synchronized, every rank contributes its share, and all ranks are given the same.
    """
    own = vectors[torch.randperm(len(vectors), device=vectors.device)[:count]]
    if not synchronize:
        return own
    shares = gather_from_ranks(own)
    # The first of each rank, then the second of each, and so on, so that all data has a say.
    ordered = [share[i : i + 1] for i in range(count) for share in shares if i < len(share)]
    return torch.cat(ordered[:count]) if ordered else own
