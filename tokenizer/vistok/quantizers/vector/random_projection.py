"""BEST-RQ: labels from random projections and codes, for masked prediction (Chiu et al., arXiv:2202.01855).

    id_h = argmax_k <normalize(A_h x), e_hk>,   x with mean 0 and variance 1 over its channels

Nothing of it is learned, and no features come back from its ids: it is a source of targets, not one of the
quantizers behind which a decoder learns.
"""

from typing import Any, Self

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.layouts import as_tokens
from vistok.quantizers.precision import full_precision
from vistok.quantizers.vector.vector_quantize import VectorQuantize


class RandomProjectionQuantizer(nn.Module):
    """Labels of features by frozen random projections and tables.

    State dicts of vector-quantize-pytorch load strictly. With several codebooks that library puts random
    linear layers (`vq.project_in`, `vq.project_out`) behind the projections and has codes of
    `num_codebooks * codebook_dim` channels; its ids need them, so that loading such a state dict makes this
    module the same. Modules built here have neither.

    Args:
        dim: channels of the features.
        codebook_size: number of codes of each codebook.
        codebook_dim: channels of a code.
        num_codebooks: ids per position, each with its own projection and table.
        norm: bring each token to mean 0 and variance 1 first, without which few codes are used.
        arguments: of the `VectorQuantize` inside, which stays in eval mode.
    """

    rand_projs: Tensor

    def __init__(
        self,
        *,
        dim: int,
        codebook_size: int,
        codebook_dim: int,
        num_codebooks: int = 1,
        norm: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.num_codebooks = num_codebooks
        self.norm = norm
        self._arguments = arguments
        self.register_buffer(
            "rand_projs", nn.init.xavier_normal_(torch.empty(num_codebooks, dim, codebook_dim))
        )
        self.vq = self._tables(codebook_dim)
        self.register_load_state_dict_pre_hook(_take_shape_of)

    def forward(self, x: Tensor, indices: Tensor | None = None) -> Tensor:
        """Label features, or say how far they are from given labels.

        Args:
            x: `(b *space d)` or `(b d)`, any floating dtype; computed in float32.
            indices: labels to compare with, as they are answered.

        Returns:
            int64 `(b *space k)`, with one codebook `(b *space)`; given indices, the mean cross entropy of
            the cosines against them, a scalar.
        """
        tokens, layout = as_tokens(x, self.dim, channel_first=False)
        with full_precision(x.device):
            tokens = tokens.float()
            if self.norm:
                tokens = functional.layer_norm(tokens, (self.dim,))
            projected = torch.einsum("bnd,hdc->bnhc", tokens, self.rand_projs.float()).flatten(2)
            if indices is None:
                return layout.ids(self.vq.ids_of_map(projected.mT))
            return self.vq(projected, indices=indices.reshape(*tokens.shape[:2], *self._codebook_axis))[1]

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give the unit codes `(b *space (k c))` float32 of indices; zeros where they are -1."""
        return self.vq.get_codes_from_indices(indices)

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off around the tables, which never learn."""
        super().train(mode)
        self.vq.eval()
        return self

    @property
    def _codebook_axis(self) -> tuple[int, ...]:
        return (self.num_codebooks,) if self.num_codebooks > 1 else ()

    def _tables(self, code_dim: int) -> VectorQuantize:
        tables = VectorQuantize(
            dim=self.codebook_dim * self.num_codebooks,
            codebook_size=self.codebook_size,
            codebook_dim=code_dim,
            heads=self.num_codebooks,
            separate_codebook_per_head=True,
            use_cosine_sim=True,
            **self._arguments,
        )
        return tables.to(self.rand_projs).requires_grad_(False).eval()


def _take_shape_of(module: RandomProjectionQuantizer, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before loading a state dict with the other kind of tables, exchange the module's for that kind."""
    codes = state.get(prefix + "vq._codebook.embed")
    if codes is None:
        return
    code_dim = codes.shape[-1]
    known = {module.codebook_dim, module.codebook_dim * module.num_codebooks}
    if code_dim in known and code_dim != module.vq.codebook.shape[-1]:
        module.vq = module._tables(code_dim)
