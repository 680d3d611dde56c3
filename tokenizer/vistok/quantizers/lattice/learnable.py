"""LL-VQ-VAE: a rectangular lattice whose spacings are learned (Khalil et al., arXiv:2310.09382).

q = b round(z / b), channel by channel, with d parameters b in place of a table. A lattice has no end and ids
must have one: each channel keeps the cells nearest to zero, and features beyond them take the outermost.
"""

import torch
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import full_precision
from vistok.quantizers.vector.losses import pull_together
from vistok_protocol.errors import ErrorCode, VistokError

# An optimizer may carry a spacing through zero, where nothing could be divided by it.
_SMALLEST_SPACING = 1e-6


class LearnableLattice(Quantizer):
    """Learnable lattice quantization with one id per channel, `(b *space k)` with `k = dim`.

    Calling it gives `Quantized`. The loss is
    `|q - sg(z)|^2 + commitment_weight |z - sg(q)|^2 - spread_weight sum |b|`. Id `cells // 2` is zero, and an
    absent id decodes to zero in its channel alone.

    Args:
        dim: channels of the features.
        cells: lattice points of each channel, odd: as many on each side of zero.
        codebook_size: size of the codebook whose density the spacings start from: b is drawn from +-B,
            `B = 1 / (codebook_size ** (1 / dim) - 1)`.
        commitment_weight: weight of the term that moves features.
        spread_weight: pulls the spacings apart; negative packs them. Nothing stops it but an encoder whose
            features grow along: with features that stay as they are, codes end at zero.
    """

    def __init__(
        self,
        dim: int,
        cells: int = 255,
        *,
        codebook_size: int = 512,
        commitment_weight: float = 0.25,
        spread_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if cells < 3 or cells % 2 == 0 or codebook_size < 2:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "a learnable lattice needs an odd number of cells of at least 3 and a codebook_size of at "
                f"least 2, got {cells} and {codebook_size}",
            )
        self.dim = dim
        self.ids_per_token = dim
        self.codebook_axis = True
        self.vocabulary_size = cells
        self.commitment_weight = commitment_weight
        self.spread_weight = spread_weight
        largest = 1 / (codebook_size ** (1 / dim) - 1)
        self.spacing = nn.Parameter(torch.empty(dim).uniform_(-largest, largest))

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            features, step = tokens.float(), self._step()
            digits = self._digits(features, step)
            codes = digits * step
            ids = self._number(digits)
            if not self.training:
                return Quantized(codes, ids, codes.new_zeros(()))
            loss = pull_together(
                features, codes, mask, codes_weight=1.0, features_weight=self.commitment_weight
            )
            loss = loss - self.spread_weight * self.spacing.float().abs().sum()
            return Quantized(straight_through(features, codes), ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._number(self._digits(tokens.float(), self._step()))

    def _codes(self, ids: Tensor) -> Tensor:
        return (ids - self.vocabulary_size // 2) * self._step()

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        return self._codes(ids.clamp(min=0)) * (ids >= 0)

    def _step(self) -> Tensor:
        """Give the spacings as positive numbers: -b spans the same lattice as b."""
        return self.spacing.float().abs().clamp(min=_SMALLEST_SPACING)

    def _digits(self, features: Tensor, step: Tensor) -> Tensor:
        outermost = self.vocabulary_size // 2
        return (features / step).detach().round().clamp(-outermost, outermost)

    def _number(self, digits: Tensor) -> Tensor:
        return digits.long() + self.vocabulary_size // 2
