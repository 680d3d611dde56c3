"""A table of code vectors: how it is searched and read. How it learns is in `learning.py`.

Buffers are named as in the field's state dicts. Letters: `g` tables, `m` vectors per table, `k` codes per
table, `d` channels of a code.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.search.nearest import largest_score, largest_scores, offsets_of_distance
from vistok.quantizers.vector.derived import Derived

_UNIT_EPSILON = 1e-6
# A distance is not differentiable at zero.
_SMALLEST_SQUARED_DISTANCE = 1e-8


class Codebook(nn.Module):
    """Codes `(g k d)` with the moving averages `(g k)` and `(g k d)` that they may follow.

    Args:
        tables: number of tables `g`.
        size: codes per table.
        dim: channels of a code.
        cosine: codes and vectors have unit length, and the nearest is the one at the smallest angle.
        learnable: codes are a parameter, for an optimizer, rather than a buffer.
        from_data: the codes wait for k-means on the first training batch.
        bridge: maps the table `(g k d)` to the one that is searched and read (FVQ, arXiv:2509.10140).
    """

    initted: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def __init__(
        self,
        tables: int,
        size: int,
        dim: int,
        *,
        cosine: bool = False,
        learnable: bool = False,
        from_data: bool = False,
        bridge: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.cosine = cosine
        self.learnable = learnable
        embed = torch.empty(tables, size, dim)
        nn.init.kaiming_uniform_(embed)
        embed = functional.normalize(embed, dim=-1) if cosine else embed
        self.register_buffer("initted", torch.tensor(not from_data))
        self.register_buffer("cluster_size", torch.ones(tables, size))
        self.register_buffer("embed_avg", embed.clone())
        if learnable:
            self.embed = nn.Parameter(embed)
        else:
            self.register_buffer("embed", embed)
        self.vq_bridge = bridge
        self._derived = Derived()

    @property
    def tables(self) -> int:
        """Number of tables."""
        return self.embed.shape[0]

    @property
    def size(self) -> int:
        """Codes per table."""
        return self.embed.shape[1]

    def prepare(self, vectors: Tensor) -> Tensor:
        """Bring vectors `(... d)` to float32 and, for cosine codebooks, to unit length."""
        vectors = vectors.float()
        return functional.normalize(vectors, dim=-1, eps=_UNIT_EPSILON) if self.cosine else vectors

    def table(self) -> Tensor:
        """Give the codes `(g k d)` float32 that are searched and read."""
        codes = self.embed.float()
        return codes if self.vq_bridge is None else self.vq_bridge(codes)

    def nearest(self, vectors: Tensor) -> Tensor:
        """Give the ids `(g m)` of prepared vectors `(g m d)`; no gradients."""
        with torch.no_grad():
            codes, offsets = self._derived.of(self._weights, self._searchable)
            return _table_by_table(largest_score, vectors.detach(), codes, offsets)

    def nearest_several(self, vectors: Tensor, count: int) -> Tensor:
        """Give the ids `(g m count)` of the codes nearest to prepared vectors `(g m d)`, best first."""
        codes, offsets = self._derived.of(self._weights, self._searchable)
        search = partial(largest_scores, count=count)
        return _table_by_table(search, vectors.detach(), codes.detach(), offsets.detach())

    def scores(self, vectors: Tensor) -> Tensor:
        """Give the logits `(g m k)` of prepared vectors `(g m d)`: cosines, or minus the distances.

        For training: it holds a row of all codes for each vector. Gradients reach vectors and codes.
        """
        # A copy, because the codes may move before gradients are asked for.
        codes = self.table().clone()
        products = vectors @ codes.mT
        if self.cosine:
            return products
        squares = vectors.square().sum(dim=-1)[..., None] + codes.square().sum(dim=-1)[:, None]
        return -(squares - 2 * products).clamp(min=_SMALLEST_SQUARED_DISTANCE).sqrt()

    def look_up(self, ids: Tensor) -> Tensor:
        """Give the codes `(g m d)` of ids `(g m)`."""
        table = self.table() if self.training else self._derived.of(self._weights, self._searchable)[0]
        return _table_by_table(functional.embedding, ids, table)

    def _weights(self) -> Iterator[Tensor]:
        yield from self.parameters()
        yield from self.buffers()

    def _searchable(self) -> tuple[Tensor, Tensor]:
        """Give the codes `(g k d)` and the offsets `(g k)` with which they are searched."""
        codes = self.table()
        if self.cosine:
            return codes, codes.new_zeros(codes.shape[:2])
        return codes, _table_by_table(offsets_of_distance, codes)


class AffineCodebook(Codebook):
    """A codebook that is shifted and scaled as a whole to where the data is (Huh et al., arXiv:2305.08842).

    The codes keep their places relative to each other; mean and variance, channel by channel, are moved from
    the codebook's to the data's, both being moving averages that training updates.

    Args:
        batch_decay: of the data's statistics, per batch.
        codebook_decay: of the codebook's.
    """

    batch_mean: Tensor
    batch_variance: Tensor
    codebook_mean: Tensor
    codebook_variance: Tensor
    codebook_mean_needs_init: Tensor
    codebook_variance_needs_init: Tensor

    def __init__(
        self,
        tables: int,
        size: int,
        dim: int,
        *,
        batch_decay: float,
        codebook_decay: float,
        learnable: bool = False,
        from_data: bool = False,
    ) -> None:
        super().__init__(tables, size, dim, learnable=learnable, from_data=from_data)
        self.batch_decay = batch_decay
        self.codebook_decay = codebook_decay
        for name in ("batch", "codebook"):
            self.register_buffer(f"{name}_mean", torch.zeros(tables, 1, dim))
            self.register_buffer(f"{name}_variance", torch.ones(tables, 1, dim))
        for name in ("mean", "variance"):
            self.register_buffer(f"codebook_{name}_needs_init", torch.tensor(True))
        self.register_load_state_dict_pre_hook(_fill_in_batch_statistics)

    def table(self) -> Tensor:
        """Give the codes `(g k d)` where the data is."""
        scale = self._scale()
        return (super().table() - self.codebook_mean) * scale + self.batch_mean

    def from_data_to_codes(self, vectors: Tensor) -> Tensor:
        """Take vectors `(g m d)` to where the stored codes are: the inverse of what `table` does to codes."""
        return (vectors - self.batch_mean) / self._scale() + self.codebook_mean

    @torch.no_grad()
    def watch(self, vectors: Tensor, mean_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Update the statistics from a training batch's vectors `(g m d)`."""
        embed = self.embed.float()
        first = bool(self.codebook_mean_needs_init)
        decay = 0.0 if first else self.codebook_decay
        self.codebook_mean.lerp_(embed.mean(dim=1, keepdim=True), 1 - decay)
        self.codebook_variance.lerp_(embed.var(dim=1, keepdim=True, unbiased=False), 1 - decay)
        self.codebook_mean_needs_init.fill_(False)
        self.codebook_variance_needs_init.fill_(False)
        decay = 0.0 if first else self.batch_decay
        mean = mean_over_ranks(vectors.mean(dim=1, keepdim=True))
        self.batch_mean.lerp_(mean, 1 - decay)
        variance = mean_over_ranks((vectors - mean).square().mean(dim=1, keepdim=True))
        self.batch_variance.lerp_(variance, 1 - decay)

    def _scale(self) -> Tensor:
        smallest = 1e-5
        return (self.batch_variance.clamp(min=smallest) / self.codebook_variance.clamp(min=smallest)).sqrt()


def _table_by_table(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Give what the function makes of each table's part `(...)` of tensors `(g ...)`, stacked `(g ...)`."""
    if len(tensors[0]) == 1:
        return function(*(tensor[0] for tensor in tensors)).unsqueeze(0)
    return torch.stack([function(*parts) for parts in zip(*tensors, strict=True)])


def _fill_in_batch_statistics(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Accept the field's state dict of a module that has seen no batch: these keys come with the first."""
    for name in ("batch_mean", "batch_variance"):
        state.setdefault(prefix + name, getattr(module, name))
