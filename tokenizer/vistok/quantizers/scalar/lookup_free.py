"""LFQ: the id is the signs of the latent channels, one bit each (Yu et al., MAGVIT-v2, arXiv:2310.05737).

The first channel is the highest bit. Training asks for bits that are certain for each token and
uniform over the batch, through an entropy term. Under a softmax over all sign vectors the bits of one
token are independent, which lets both entropies be computed exactly without a row per code.
"""

from math import log2
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import full_precision, projections
from vistok.quantizers.scalar.diversity import batch_entropy, negative_p_log_p
from vistok_protocol.errors import ErrorCode, VistokError

# The batch's distribution has an entry per code: beyond this many bits it would not fit in memory.
_MOST_BITS_WITH_ENTROPY = 24


class LFQOutput(NamedTuple):
    """What calling an `LFQ` gives."""

    quantized: Tensor
    """As the input, each latent channel `+codebook_scale` or `-codebook_scale`."""
    indices: Tensor
    """int64, the input's shape without its channel axis."""
    entropy_aux_loss: Tensor
    """Scalar, zero in eval mode."""


class LFQ(Quantizer):
    """Lookup-free quantization.

    Args:
        dim: channels of the feature map. Default: the number of bits.
        codebook_size: a power of two. Default: `2 ** dim`.
        entropy_loss_weight: weight of the entropy term; 0 leaves it out.
        commitment_loss_weight: weight of the squared distance between input and code.
        diversity_gamma: weight of the batch's entropy against the tokens' own.
        codebook_scale: absolute value of a code's channels.
        inv_temperature: sharpness of the softmax over codes in the entropy term.
        channel_first: layout of the input; by default inputs of four axes and more are channel-first.
    """

    mask: Tensor

    def __init__(
        self,
        *,
        dim: int | None = None,
        codebook_size: int | None = None,
        entropy_loss_weight: float = 0.1,
        commitment_loss_weight: float = 0.0,
        diversity_gamma: float = 1.0,
        codebook_scale: float = 1.0,
        inv_temperature: float = 100.0,
        channel_first: bool | None = None,
    ) -> None:
        super().__init__()
        self.bits, self.dim, self.vocabulary_size = _sizes(dim, codebook_size)
        if entropy_loss_weight and self.bits > _MOST_BITS_WITH_ENTROPY:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"the entropy term reaches {_MOST_BITS_WITH_ENTROPY} bits, got {self.bits}: "
                "use entropy_loss_weight=0",
            )
        self.entropy_loss_weight = entropy_loss_weight
        self.commitment_loss_weight = commitment_loss_weight
        self.diversity_gamma = diversity_gamma
        self.codebook_scale = codebook_scale
        self.inv_temperature = inv_temperature
        self.channel_first = channel_first
        self.project_in, self.project_out = projections(self.dim, self.bits)
        # Persistent because the field's state dicts carry it.
        self.register_buffer("mask", 2 ** torch.arange(self.bits - 1, -1, -1))

    def forward(self, x: Tensor) -> LFQOutput:
        """Quantize `(b *space d)`, `(b d *space)` or `(b d)`; any floating dtype, computed in float32."""
        codes, indices, loss = self._arranged(x, None, self.channel_first)
        return LFQOutput(codes.to(x.dtype), indices, loss)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Decode indices `(b n)` to `(b n d)`, and `(b *space)` with more axes to `(b d *space)`."""
        return self._looked_up(indices, self.channel_first)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            latents = self.project_in(tokens)
            bits = latents > 0
            signs = self._signs(bits)
            loss = self._loss(latents, signs) if self.training else latents.new_zeros(())
            codes = self.project_out(straight_through(latents, signs))
            return Quantized(codes, self._number(bits), loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._number(self.project_in(tokens) > 0)

    def _codes(self, ids: Tensor) -> Tensor:
        return self.project_out(self._signs(ids.unsqueeze(-1) & self.mask != 0))

    def _signs(self, bits: Tensor) -> Tensor:
        return (bits.float() * 2 - 1) * self.codebook_scale

    def _number(self, bits: Tensor) -> Tensor:
        return (bits * self.mask).sum(dim=-1)

    def _loss(self, latents: Tensor, signs: Tensor) -> Tensor:
        loss = self.commitment_loss_weight * functional.mse_loss(latents, signs)
        if self.entropy_loss_weight:
            # softmax over codes c of 2 * inv_temperature * <x, c>: each bit's own probability.
            probability = torch.sigmoid(4 * self.inv_temperature * self.codebook_scale * latents)
            bits = torch.stack([1 - probability, probability], dim=-1).flatten(0, 1)
            certainty = negative_p_log_p(bits).sum(dim=(1, 2)).mean()
            diversity = batch_entropy(bits.unbind(dim=1))
            loss = loss + self.entropy_loss_weight * (certainty - self.diversity_gamma * diversity)
        return loss


def _sizes(dim: int | None, codebook_size: int | None) -> tuple[int, int, int]:
    if dim is None and codebook_size is None:
        raise VistokError(ErrorCode.INVALID_REQUEST, "LFQ needs dim, codebook_size or both, got neither")
    size = 2**dim if codebook_size is None and dim is not None else codebook_size
    assert size is not None
    if size < 2 or size & (size - 1) or size > 2**62:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"LFQ needs a power of two from 2 to 2**62 as codebook_size, got {size}",
        )
    bits = int(log2(size))
    return bits, bits if dim is None else dim, size
