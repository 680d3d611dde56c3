"""The tables of a residual VQ: read, searched and shared.

`so_far` is the sum of the codes of the layers before. Letters: residuals `(b n d)` or, in a search, `(m d)`;
`c` ids of each vector, `k` codes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized
from vistok.quantizers.search.nearest import offsets_of_distance
from vistok.quantizers.search.tiles import in_tiles
from vistok.quantizers.vector.training import Call
from vistok.quantizers.vector.vector_quantize import VectorQuantize

# Floats that one tile of vectors may need at a time: 16 MiB.
_FLOATS_PER_TILE = 2**22


class Tables:
    """The layers' tables, mapped by networks where there are any. It owns neither.

    Args:
        layers: `VectorQuantize` layers without projections.
        mlps: an `ImplicitCodebook` for each layer after the first, or None.
    """

    def __init__(self, layers: Sequence[VectorQuantize], mlps: nn.ModuleList | None) -> None:
        self._layers = layers
        self._mlps = mlps

    def rows(self, index: int, ids: Tensor, so_far: Tensor | None) -> Tensor:
        """Give codes `(*ids d)` of ids that are all present; `so_far` broadcasts to them."""
        rows = functional.embedding(ids, self._table(index))
        network = self._network(index)
        return rows if network is None else network(rows, so_far)

    def start(self, index: int, residual: Tensor, mask: Tensor | None) -> None:
        """Place the codes of a layer that waits for data among residuals; once it has begun, do nothing."""
        training = self._layers[index]._training
        vectors = training.book.prepare(residual.detach()).flatten(0, 1).unsqueeze(0)
        training.begin(vectors, None if mask is None else mask.flatten())

    @torch.no_grad()
    def nearest(self, index: int, residual: Tensor, so_far: Tensor | None) -> Tensor:
        """Give the ids `(b n)` of one layer's codes nearest to residuals."""
        so_far = torch.zeros_like(residual) if so_far is None else so_far
        rows = max(_FLOATS_PER_TILE // self.floats_per_vector(), 1)

        def nearest(*tile: Tensor) -> Tensor:
            return self.scores(index, *tile).argmax(dim=1)

        ids = in_tiles(nearest, rows, residual.flatten(0, 1), so_far.flatten(0, 1))
        return ids.unflatten(0, residual.shape[:2])

    def logits(self, index: int, residual: Tensor, so_far: Tensor) -> Tensor:
        """Give cosines, or distances with their sign turned, `(b n k)` of residuals to all codes."""
        network = self._network(index)
        if network is None:
            book = self._layers[index]._codebook
            return book.scores(book.prepare(residual.flatten(0, 1)).unsqueeze(0)).view(
                *residual.shape[:2], -1
            )
        return -(residual.unsqueeze(-2) - network(self._table(index), so_far.unsqueeze(-2))).norm(dim=-1)

    def are_ready(self) -> bool:
        """Say whether no table still waits for data to start from."""
        return all(bool(layer._codebook.initted) for layer in self._layers)

    # One table for all layers.

    def share_first(self) -> None:
        """Give every layer the first one's table."""
        book = self._layers[0]._codebook
        for layer in self._layers[1:]:
            layer._codebook = layer._training.book = book

    def follow_together(self, residuals: Tensor, mask: Tensor | None) -> None:
        """Move the shared table by what all layers have seen, `(b n q d)`, and replace its dead codes."""
        first = self._layers[0]
        if first.ema_update:
            first._training.learning.refresh(first._codebook)
        first.update_in_place_optimizer()
        seen = residuals if mask is None else residuals[mask]
        first.expire_codes_(seen.reshape(1, -1, seen.shape[-1]))

    # What a beam search asks.

    def targets(self, residual: Tensor) -> Tensor:
        """Give what codes are compared with: residuals `(m d)`, for cosine tables scaled to unit length."""
        return self._layers[0]._codebook.prepare(residual)

    def scores(self, index: int, residual: Tensor, so_far: Tensor) -> Tensor:
        """Give scores `(m k)` that are larger for nearer codes."""
        network, table = self._network(index), self._table(index)
        if network is not None:
            mapped = network(table, so_far.unsqueeze(1))
            return (mapped @ residual.unsqueeze(2)).squeeze(2) - 0.5 * mapped.square().sum(dim=2)
        if self._layers[index]._codebook.cosine:
            return self.targets(residual) @ table.T
        return torch.addmm(offsets_of_distance(table), residual, table.T)

    def codes(self, index: int, ids: Tensor, so_far: Tensor) -> Tensor:
        """Give codes `(m c d)` of ids `(m c)`."""
        return self.rows(index, ids, so_far.unsqueeze(1))

    def floats_per_vector(self) -> int:
        """Give how many numbers the scores of one vector take to compute."""
        largest = max(layer.codebook_size for layer in self._layers)
        return largest * (1 if self._mlps is None else self._layers[0].dim)

    def _table(self, index: int) -> Tensor:
        return self._layers[index]._codebook.table()[0]

    def _network(self, index: int) -> nn.Module | None:
        return None if self._mlps is None or index == 0 else self._mlps[index - 1]


def learn_from_choice(
    layer: VectorQuantize, residual: Tensor, rows: Tensor, ids: Tensor, mask: Tensor | None, frozen: bool
) -> Quantized:
    """Do what a layer does in training, for codes `(b n d)` and ids `(b n)` that were chosen elsewhere."""
    training = layer._training
    vectors = training.book.prepare(residual)
    rows = rows.detach() if frozen or not training.by_gradient else rows
    in_mask = None if mask is None else mask.flatten()
    terms = training.regularization.terms(
        vectors.flatten(0, 1)[None],
        rows.flatten(0, 1)[None],
        ids.flatten()[None],
        None,
        training.book.embed,
        in_mask,
    )
    codes = training.estimate(vectors, rows) if training.routes_gradients else rows
    if training.synchronous_step:
        codes = codes + training.synchronous_step * (rows - rows.detach())
    if not frozen:
        training.learn(vectors.detach().flatten(0, 1)[None], ids.flatten()[None], in_mask, Call())
    return Quantized(codes, ids, training.regularization.total(terms))
