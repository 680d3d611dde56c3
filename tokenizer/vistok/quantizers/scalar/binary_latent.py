"""Binary latents: every bit adds its own learned vector to the code (Wang et al., arXiv:2304.04820).

p = sigmoid(W h + a), b ~ Bernoulli(p) in training and b = [p > 1/2] after it, code = b E with a row of E per
bit. Gradients pass straight through b to p. The first bit is the highest of the id.
"""

import torch
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import Constants, Projection, full_precision
from vistok_protocol.errors import ErrorCode, VistokError

_MOST_BITS_OF_AN_ID = 62


class BinaryLatent(Quantizer):
    """Binary latent vectors.

    Calling it gives `Quantized`. Up to 62 bits make one id, `(b *space)`. More
    do not fit: they are cut in order into the fewest equal parts that do, one id each, `(b *space k)`;
    128 bits are 4 ids of 32. In training mode ids are sampled. An absent id adds nothing to the code.

    Args:
        dim: channels of the features.
        bits: per position.
        uncertainty_weight: weight in the loss of p (1 - p), the mean variance of the bits.
    """

    def __init__(self, dim: int, bits: int, *, uncertainty_weight: float = 0.0) -> None:
        super().__init__()
        if bits < 1:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"binary latents need at least 1 bit, got {bits}")
        self.dim = dim
        self.bits = bits
        self.ids_per_token = _fewest_equal_parts(bits)
        self.codebook_axis = self.ids_per_token > 1
        self.vocabulary_size = 2 ** (bits // self.ids_per_token)
        self.uncertainty_weight = uncertainty_weight
        self.logits = Projection(dim, bits)
        self.embedding = nn.Parameter(torch.randn(bits, dim))
        self._places = Constants(values=2 ** torch.arange(bits // self.ids_per_token - 1, -1, -1))

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            logits = self.logits(tokens)
            if not self.training:
                bits = logits > 0
                return Quantized(self._sum(bits.float()), self._number(bits), logits.new_zeros(()))
            probability = logits.sigmoid()
            bits = torch.bernoulli(probability.detach())
            codes = self._sum(straight_through(probability, bits))
            return Quantized(codes, self._number(bits.bool()), self._loss(probability, mask))

    def _codes(self, ids: Tensor) -> Tensor:
        bits = ids.unsqueeze(-1) & self._places.values != 0
        return self._sum((bits.flatten(2) if self.codebook_axis else bits).float())

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        # An absent id is one without bits: nothing is added.
        return self._codes(ids.clamp(min=0))

    def _sum(self, bits: Tensor) -> Tensor:
        with full_precision(bits.device):
            return bits @ self.embedding.float()

    def _number(self, bits: Tensor) -> Tensor:
        """Give the ids `(b n [k])` of bits `(b n c)`."""
        if self.codebook_axis:
            bits = bits.unflatten(-1, (self.ids_per_token, -1))
        return (bits * self._places.values).sum(dim=-1)

    def _loss(self, probability: Tensor, mask: Tensor | None) -> Tensor:
        variance = probability * (1 - probability)
        if mask is None:
            return self.uncertainty_weight * variance.mean()
        return self.uncertainty_weight * variance[mask].sum() / (mask.sum() * self.bits).clamp(min=1)


def _fewest_equal_parts(bits: int) -> int:
    return next(k for k in range(1, bits + 1) if bits % k == 0 and bits // k <= _MOST_BITS_OF_AN_ID)
