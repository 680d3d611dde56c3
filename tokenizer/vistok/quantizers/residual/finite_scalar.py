"""Residual FSQ: each layer divides the steps of the one before it by the number of levels.

    code_q = FSQ(r_q / s_q) * s_q,   s_q = levels ** -q

FSQ is arXiv:2309.15505; its levels lie here symmetrically in [-1, 1] (arXiv:2411.19842). So that the first
layer's outermost steps leave no more than the second can reach, the input is first clamped softly to a little
beyond the levels, and each layer clamps hard to its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized
from vistok.quantizers.precision import Constants
from vistok.quantizers.residual.depth_dropout import depth_dropout
from vistok.quantizers.residual.stack import ResidualStack
from vistok.quantizers.scalar.base import indices_dtype
from vistok.quantizers.scalar.finite_scalar import FSQ
from vistok_protocol.errors import ErrorCode, VistokError


class ResidualFSQOutput(NamedTuple):
    """What calling a `ResidualFSQ` gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """`(b *space q)`, with `is_channel_first` `(b q *space)`; absent where a layer was left out."""


class ResidualFSQ(ResidualStack):
    """A stack of FSQ layers.

    Args:
        levels: number of values of each latent channel, in every layer.
        num_quantizers: number of layers.
        dim: channels of the features; where it differs from `len(levels)`, linear layers project in and out.
        is_channel_first: features are `(b d *space)`, and indices `(b q *space)`.
        quantize_dropout: train batches on the first layers only, their number being drawn.
        quantize_dropout_cutoff_index: index of the first layer after which that may happen.
        quantize_dropout_multiple_of: round the number of layers up to a multiple.
        soft_clamp_input_value: where the input is clamped, for all channels or for each.
        bound_hard_clamp: layers clamp, and the input is clamped where the levels say; False: layers take the
            hyperbolic tangent instead.
        arguments: of each layer, see `FSQ`.
    """

    def __init__(
        self,
        *,
        levels: Sequence[int],
        num_quantizers: int,
        dim: int | None = None,
        is_channel_first: bool = False,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        soft_clamp_input_value: float | Sequence[float] | Tensor | None = None,
        bound_hard_clamp: bool = True,
        **arguments: Any,
    ) -> None:
        arguments |= {"preserve_symmetry": True, "bound_hard_clamp": bound_hard_clamp}
        layers = [FSQ(levels, dim=len(levels), **arguments) for _ in range(num_quantizers)]
        super().__init__(
            dim=len(levels) if dim is None else dim,
            layers=layers,
            dropout=depth_dropout(
                quantize_dropout,
                quantize_dropout_cutoff_index,
                quantize_dropout_multiple_of,
                num_quantizers,
            ),
            channel_first=is_channel_first,
        )
        self.levels = tuple(levels)
        self.is_channel_first = is_channel_first
        sizes = torch.tensor(self.levels, dtype=torch.float32)
        self._constants = Constants(scales=torch.stack([sizes**-index for index in range(num_quantizers)]))
        self._clamp = _clamp(soft_clamp_input_value, bound_hard_clamp, sizes)

    def forward(
        self, x: Tensor, return_all_codes: bool = False, rand_quantize_dropout_fixed_seed: int | None = None
    ) -> tuple[Tensor, ...]:
        """Quantize `(b *space d)`, or `(b d *space)` with `is_channel_first`; any floating dtype.

        Returns:
            `ResidualFSQOutput`; with `return_all_codes` a tuple that also has `get_codes_from_indices`.
        """
        codes, ids, _ = self._stacked(x, None, seed=rand_quantize_dropout_fixed_seed)
        ids = ids.to(indices_dtype(self.vocabulary_size))
        indices = ids.movedim(-1, 1) if self.is_channel_first else ids
        output = ResidualFSQOutput(codes, indices)
        return (*output, self.get_codes_from_indices(indices)) if return_all_codes else output

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give each layer's codes `(q b *space d)`, scaled, of indices as calling the stack gives them."""
        return super().get_codes_from_indices(self._layers_last(indices))

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Give what calling the stack gave with these indices, in the layout of its input, in float32."""
        return super().get_output_from_indices(self._layers_last(indices))

    def _layers_last(self, indices: Tensor) -> Tensor:
        return indices.movedim(1, -1) if self.is_channel_first and indices.ndim > 1 else indices

    def _enter(self, tokens: Tensor) -> Tensor:
        latents = self.project_in(tokens)
        return latents if self._clamp is None else torch.tanh(latents / self._clamp.bound) * self._clamp.bound

    def _codes_of_layer(self, index: int, ids: Tensor, so_far: Tensor | None) -> Tensor:
        return self.layers[index]._codes(ids) * self._constants.scales[index]

    def _search_layer(self, index: int, residual: Tensor, so_far: Tensor | None) -> tuple[Tensor, Tensor]:
        scale = self._constants.scales[index]
        layer = self.layers[index]
        if layer.training:
            ids = layer._ids(residual / scale)
            return self._codes_of_layer(index, ids, so_far), ids
        codes, ids, _ = layer._quantize(residual / scale, None)
        return codes * scale, ids

    def _train_layer(
        self, index: int, residual: Tensor, so_far: Tensor | None, mask: Tensor | None, **options: Any
    ) -> Quantized:
        scale = self._constants.scales[index]
        codes, ids, loss = self.layers[index]._quantize(residual / scale, mask)
        return Quantized(codes * scale, ids, loss)


def _clamp(
    value: float | Sequence[float] | Tensor | None, bound_hard_clamp: bool, sizes: Tensor
) -> Constants | None:
    if bound_hard_clamp and value is not None:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            "with bound_hard_clamp the levels say where the input is clamped: "
            f"expected no soft_clamp_input_value, got {value}",
        )
    if bound_hard_clamp:
        return Constants(bound=1 + 1 / (sizes - 1))
    return None if value is None else Constants(bound=torch.as_tensor(value, dtype=torch.float32))
