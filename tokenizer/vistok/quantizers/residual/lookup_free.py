"""Residual LFQ: each layer's bits count half of those of the layer before it.

    code_q = sign(r_q) * 2 ** -q

LFQ is Yu et al., MAGVIT-v2, arXiv:2310.05737.
"""

from typing import Any

from torch import Tensor

from vistok.quantizers.residual.depth_dropout import depth_dropout
from vistok.quantizers.residual.stack import ResidualStack
from vistok.quantizers.scalar.lookup_free import LFQ


class ResidualLFQ(ResidualStack):
    """A stack of LFQ layers.

    Args:
        dim: channels of the features; where it is not the number of bits, linear layers project in and out.
        num_quantizers: number of layers.
        codebook_size: a power of two, of every layer.
        quantize_dropout: train batches on the first layers only, their number being drawn.
        quantize_dropout_cutoff_index: index of the first layer after which that may happen.
        quantize_dropout_multiple_of: round the number of layers up to a multiple.
        soft_clamp_input_value: where the first layer clamps its input, the others half of it each time.
        arguments: of each layer, see `LFQ`.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int,
        codebook_size: int,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        soft_clamp_input_value: float | None = None,
        **arguments: Any,
    ) -> None:
        clamp = soft_clamp_input_value
        layers = [
            LFQ(
                dim=codebook_size.bit_length() - 1,
                codebook_size=codebook_size,
                codebook_scale=2**-index,
                soft_clamp_input_value=None if clamp is None else clamp * 2**-index,
                **arguments,
            )
            for index in range(num_quantizers)
        ]
        super().__init__(
            dim=dim,
            layers=layers,
            dropout=depth_dropout(
                quantize_dropout,
                quantize_dropout_cutoff_index,
                quantize_dropout_multiple_of,
                num_quantizers,
            ),
            channel_first=False,
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        return_all_codes: bool = False,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[Tensor, ...]:
        """Quantize `(b *space d)` of any floating dtype.

        Args:
            mask: `(b *space)` bool; where False, indices are absent, codes zero, and the loss looks away.
            return_all_codes: give a fourth entry, `get_codes_from_indices`.
            rand_quantize_dropout_fixed_seed: decides how many layers a training batch goes through.

        Returns:
            `ResidualOutput`, or with `return_all_codes` a tuple of four.
        """
        return self._called(x, mask, return_all_codes, seed=rand_quantize_dropout_fixed_seed)
