"""SimVQ: the codebook is one learned linear map of frozen random vectors (Zhu et al., arXiv:2411.02038).

`codes = transform(frozen)`: a step of the optimizer moves all codes at once, so that none of them dies.
The id is the number of the nearest code.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import rotate_to, straight_through
from vistok.quantizers.precision import Projection, full_precision
from vistok.quantizers.search.nearest import offsets_of_distance
from vistok.quantizers.vector.choosing import choose
from vistok.quantizers.vector.derived import Derived
from vistok.quantizers.vector.losses import pull_together


class SimVQOutput(NamedTuple):
    """What calling a `SimVQ` gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """int64, the input's shape without its channel axis."""
    commit_loss: Tensor
    """Scalar, zero in eval mode."""


class SimVQ(Quantizer):
    """Vector quantization with a linearly transformed frozen codebook.

    Args:
        dim: channels of the features and of the codes.
        codebook_size: number of codes.
        codebook_transform: maps the frozen vectors `(... frozen_codebook_dim)` to codes `(... d)`, each by
            itself. Default: a linear layer without bias.
        init_fn: is given the frozen normal vectors `(k frozen_codebook_dim)` and gives those to use instead.
        channel_first: features are `(b d *space)` rather than `(b *space d)`.
        rotation_trick: pass gradients by rotation instead of straight through.
        input_to_quantize_commit_loss_weight: weight of the term that moves features, against the one that
            moves codes.
        commitment_weight: weight of both.
        frozen_codebook_dim: channels of the frozen vectors. Default: `dim`.
    """

    frozen_codebook: Tensor
    channel_first: bool

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_transform: nn.Module | None = None,
        init_fn: Callable[[Tensor], Tensor] = lambda codebook: codebook,
        channel_first: bool = False,
        rotation_trick: bool = True,
        input_to_quantize_commit_loss_weight: float = 0.25,
        commitment_weight: float = 1.0,
        frozen_codebook_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_size = self.vocabulary_size = codebook_size
        self.channel_first = channel_first
        self.rotation_trick = rotation_trick
        self.input_to_quantize_commit_loss_weight = input_to_quantize_commit_loss_weight
        self.commitment_weight = commitment_weight
        frozen_dim = dim if frozen_codebook_dim is None else frozen_codebook_dim
        if codebook_transform is None:
            codebook_transform = Projection(frozen_dim, dim, bias=False)
        self.code_transform = codebook_transform
        frozen = torch.randn(codebook_size, frozen_dim) * frozen_dim**-0.5
        self.register_buffer("frozen_codebook", init_fn(frozen))
        self._table = Derived()

    @property
    def codebook(self) -> Tensor:
        """The codes `(k d)` float32."""
        return self._table_and_offsets()[0]

    def forward(self, x: Tensor) -> SimVQOutput:
        """Quantize `(b *space d)`, `(b d *space)` or `(b d)`; any floating dtype, computed in float32."""
        codes, indices, loss = self._arranged(x, None, self.channel_first)
        return SimVQOutput(codes.to(x.dtype), indices, loss)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Decode indices `(b *space)` to `(b *space d)`, or to `(b d *space)` where channels come first."""
        return self._looked_up(indices, self.channel_first)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            tokens = tokens.float()
            table, offsets = self._table_and_offsets()
            ids = choose(tokens, table, offsets)
            codes = functional.embedding(ids, table)
            if not self.training:
                return Quantized(codes, ids, codes.new_zeros(()))
            loss = self.commitment_weight * pull_together(
                tokens,
                codes,
                mask,
                codes_weight=1.0,
                features_weight=self.input_to_quantize_commit_loss_weight,
            )
            pass_gradients = rotate_to if self.rotation_trick else straight_through
            return Quantized(pass_gradients(tokens, codes), ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return choose(tokens.float(), *self._table_and_offsets())

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            if self.training or torch.compiler.is_compiling():
                # The table is not kept then, and a few of its rows are cheaper than all.
                return self._transformed(functional.embedding(ids, self.frozen_codebook))
            return functional.embedding(ids, self._table_and_offsets()[0])

    def _table_and_offsets(self) -> tuple[Tensor, ...]:
        return self._table.of(self._weights, self._compute_table)

    def _compute_table(self) -> tuple[Tensor, ...]:
        with full_precision(self.frozen_codebook.device):
            table = self._transformed(self.frozen_codebook)
            return table, offsets_of_distance(table.detach())

    def _transformed(self, vectors: Tensor) -> Tensor:
        return self.code_transform(vectors).float()

    def _weights(self) -> Iterator[Tensor]:
        yield self.frozen_codebook
        yield from self.code_transform.parameters()
        yield from self.code_transform.buffers()
