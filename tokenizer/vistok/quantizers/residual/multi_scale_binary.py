"""Infinity's quantizer: bits on the unit sphere at every scale (Han et al., arXiv:2412.04431).

`up_s` is linear; ids are the numbers that a scale's bits make, the first channel being the highest.
"""

from collections.abc import Sequence

import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.base import Quantized
from vistok.quantizers.precision import projections
from vistok.quantizers.residual.multi_scale import MultiScale
from vistok.quantizers.scalar.binary_spherical import BSQ


class MultiScaleBSQ(MultiScale):
    """Bits on the sphere at every scale (`BSQ`), enlarged linearly; gradients pass every scale's signs.

    The loss is the mean of the scales' own.

    Args:
        dim: channels of the features.
        scales: see `MultiScale`.
        bits: up to 62; where it differs from `dim`, linear layers project in and out. Default: `dim`.
        group_size, entropy_loss_weight, diversity_gamma, commitment_loss_weight, inv_temperature: see `BSQ`.
    """

    def __init__(
        self,
        dim: int,
        scales: Sequence[int | tuple[int, int]],
        bits: int | None = None,
        *,
        group_size: int = 9,
        entropy_loss_weight: float = 0.1,
        diversity_gamma: float = 1.0,
        commitment_loss_weight: float = 0.25,
        inv_temperature: float = 1.0,
    ) -> None:
        super().__init__(dim, scales)
        self.bits = dim if bits is None else bits
        self.project_in, self.project_out = projections(dim, self.bits)
        self.lfq = BSQ(
            self.bits,
            group_size=group_size,
            entropy_loss_weight=entropy_loss_weight,
            diversity_gamma=diversity_gamma,
            commitment_loss_weight=commitment_loss_weight,
            inv_temperature=inv_temperature,
        )
        self.vocabulary_size = self.lfq.vocabulary_size

    def _quantize_scale(self, tokens: Tensor) -> Quantized:
        return self.lfq._quantize(tokens, None)

    def _codes_of_scale(self, ids: Tensor) -> Tensor:
        return self.lfq._codes(ids)

    def _enlarged(self, index: int, codes: Tensor) -> Tensor:
        if self.scales[index] == self.scales[-1]:
            return codes
        return functional.interpolate(codes, size=self.scales[-1], mode="bilinear")
