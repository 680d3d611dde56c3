"""A table of code vectors that follows the data by moving averages (van den Oord et al., arXiv:1711.00937).

It starts from k-means on the first training batch, moves each code towards the mean of the tokens that
chose it, and replaces codes that nobody chooses. Under a process group all ranks add up their counts, so
that they keep one codebook.
"""

import torch
import torch.distributed as distributed
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.search.nearest import largest_score, offsets_of_distance

_UNIT_EPSILON = 1e-6


class Codebook(nn.Module):
    """Codes `(1 k d)` with their moving averages; buffers are named as in the field's state dicts.

    Args:
        size: number of codes.
        dim: channels of a code.
        cosine: codes and tokens have unit length, and the nearest is the one at the smallest angle.
        decay: of the moving averages, per batch.
        eps: smoothing of the counts (Laplace), so that no division is by zero.
        kmeans_init: start from k-means on the first batch seen in training.
        kmeans_iters: rounds of k-means.
        threshold_ema_dead_code: codes whose averaged count falls below it are replaced by tokens.
    """

    initted: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        cosine: bool,
        decay: float,
        eps: float,
        kmeans_init: bool,
        kmeans_iters: int,
        threshold_ema_dead_code: float,
    ) -> None:
        super().__init__()
        self.cosine = cosine
        self.decay = decay
        self.eps = eps
        self.kmeans_iters = kmeans_iters
        self.threshold_ema_dead_code = threshold_ema_dead_code
        embed = torch.empty(1, size, dim)
        nn.init.kaiming_uniform_(embed)
        embed = functional.normalize(embed, dim=-1) if cosine else embed
        self.register_buffer("initted", torch.tensor(not kmeans_init))
        self.register_buffer("cluster_size", torch.ones(1, size))
        self.register_buffer("embed_avg", embed.clone())
        self.register_buffer("embed", embed)

    def prepare(self, tokens: Tensor) -> Tensor:
        """Bring tokens `(n d)` to float32 and, for cosine codebooks, to unit length."""
        tokens = tokens.float()
        return functional.normalize(tokens, dim=-1, eps=_UNIT_EPSILON) if self.cosine else tokens

    def nearest(self, tokens: Tensor) -> Tensor:
        """Give the ids `(n)` of prepared tokens `(n d)`."""
        codes = self.embed[0]
        offsets = codes.new_zeros(len(codes)) if self.cosine else offsets_of_distance(codes)
        return largest_score(tokens, codes, offsets)

    def look_up(self, ids: Tensor) -> Tensor:
        """Give the codes `(... d)` of ids `(...)`."""
        return functional.embedding(ids, self.embed[0])

    @torch.no_grad()
    def start(self, tokens: Tensor) -> None:
        """Place the codes by k-means on prepared tokens `(n d)`; does nothing once the codebook has begun."""
        if self.initted:
            return
        centres = _draw(tokens, self.embed.shape[1])
        for _ in range(self.kmeans_iters):
            self.embed[0] = self.prepare(centres)
            ids = self.nearest(tokens)
            counts, sums = self._counts_and_sums(tokens, ids)
            centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        self.embed[0] = self.prepare(centres)
        _from_first_rank(self.embed)
        self.embed_avg.copy_(self.embed)
        self.initted.fill_(True)

    @torch.no_grad()
    def follow(self, tokens: Tensor, ids: Tensor) -> None:
        """Move the codes towards the prepared tokens `(n d)` that chose them, and replace dead codes."""
        counts, sums = self._counts_and_sums(tokens, ids)
        _sum_over_ranks(counts)
        _sum_over_ranks(sums)
        self.cluster_size[0].lerp_(counts, 1 - self.decay)
        self.embed_avg[0].lerp_(sums, 1 - self.decay)
        self.embed[0] = self.prepare(self.embed_avg[0] / self._smoothed_counts()[:, None])
        if self.threshold_ema_dead_code > 0:
            self._replace_dead_codes(tokens)

    def _counts_and_sums(self, tokens: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        size, dim = self.embed.shape[1:]
        counts = torch.bincount(ids, minlength=size).to(tokens.dtype)
        sums = tokens.new_zeros(size, dim).index_add_(0, ids, tokens)
        return counts, sums

    def _smoothed_counts(self) -> Tensor:
        counts = self.cluster_size[0]
        total = counts.sum()
        return (counts + self.eps) / (total + len(counts) * self.eps) * total

    def _replace_dead_codes(self, tokens: Tensor) -> None:
        dead = self.cluster_size[0] < self.threshold_ema_dead_code
        if not dead.any():
            return
        fresh = _draw(tokens, int(dead.sum()))
        _from_first_rank(fresh)
        self.embed[0, dead] = fresh
        # A new code starts with the threshold as its count, so that it is given time to be chosen.
        self.cluster_size[0, dead] = self.threshold_ema_dead_code
        self.embed_avg[0, dead] = fresh * self.threshold_ema_dead_code


def _draw(tokens: Tensor, count: int) -> Tensor:
    """Draw `count` tokens, each at most once while there are enough."""
    if len(tokens) >= count:
        return tokens[torch.randperm(len(tokens), device=tokens.device)[:count]]
    return tokens[torch.randint(len(tokens), (count,), device=tokens.device)]


def _sum_over_ranks(values: Tensor) -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)


def _from_first_rank(values: Tensor) -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.broadcast(values, src=0)
