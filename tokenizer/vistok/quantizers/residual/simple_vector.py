"""Residual SimVQ: layers whose tables are linear maps of fixed random ones (Zhu et al., arXiv:2411.02038)."""

from typing import Any

from torch import Tensor

from vistok.quantizers.residual.depth_dropout import depth_dropout
from vistok.quantizers.residual.stack import ResidualStack
from vistok.quantizers.vector.sim import SimVQ
from vistok_protocol.errors import ErrorCode, VistokError


class ResidualSimVQ(ResidualStack):
    """A stack of SimVQ layers.

    Args:
        dim: channels of the features.
        num_quantizers: number of layers.
        codebook_size: number of codes of every layer.
        heads: 1; a stack has no heads.
        quantize_dropout: train batches on the first layers only, their number being drawn.
        quantize_dropout_cutoff_index: index of the first layer after which that may happen.
        quantize_dropout_multiple_of: round the number of layers up to a multiple.
        channel_first: features are `(b d *space)`.
        rotation_trick: pass gradients by rotation instead of straight through.
        arguments: of each layer, see `SimVQ`.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int,
        codebook_size: int,
        heads: int = 1,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        channel_first: bool = False,
        rotation_trick: bool = True,
        **arguments: Any,
    ) -> None:
        refuse_heads(heads)
        layers = [
            SimVQ(dim=dim, codebook_size=codebook_size, rotation_trick=rotation_trick, **arguments)
            for _ in range(num_quantizers)
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
            channel_first=channel_first,
        )

    def forward(
        self, x: Tensor, return_all_codes: bool = False, rand_quantize_dropout_fixed_seed: int | None = None
    ) -> tuple[Tensor, ...]:
        """Quantize `(b *space d)`, or `(b d *space)` with `channel_first`; any floating dtype.

        Args:
            return_all_codes: give a fourth entry, `get_codes_from_indices`.
            rand_quantize_dropout_fixed_seed: decides how many layers a training batch goes through.

        Returns:
            `ResidualOutput`, or with `return_all_codes` a tuple of four.
        """
        return self._called(x, None, return_all_codes, seed=rand_quantize_dropout_fixed_seed)

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give each layer's codes, `(q b *space d)` or `(q b d *space)`, of ids `(b *space q)`."""
        codes = super().get_codes_from_indices(indices)
        return codes.movedim(-1, 2) if self.channel_first else codes


def refuse_heads(heads: int) -> None:
    """Refuse what a stack has no use for: its layers give one id per token."""
    if heads != 1:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"a residual stack's layers have one head, got heads = {heads}"
        )
