"""VAR's quantizer: one table for all scales, searched by distance (Tian et al., arXiv:2404.02905).

up_s(c) = (1 - r) h + r conv_s(h),   h = bicubic(c)
"""

from collections.abc import Sequence

import numpy
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.residual.multi_scale import MultiScale
from vistok.quantizers.search.nearest import largest_score, offsets_of_distance
from vistok_protocol.errors import ErrorCode, VistokError


class MultiScaleVQ(MultiScale):
    """One table for all scales; enlarged codes go through one of a few convolutions.

    State-dict keys are those of VAR's quantizer. The loss is the mean over scales of
    `|total_s - sg(features)|^2 + commitment_weight |sg(total_s) - features|^2`.

    Args:
        dim: channels of features and codes.
        codebook_size: number of codes.
        scales: see `MultiScale`; VAR's are 1, 2, 3, 4, 5, 6, 8, 10, 13, 16.
        phis: convolutions; a scale takes the one whose place among them is nearest to the scale's.
        phi_weight: `r`.
        commitment_weight: weight of the term that moves the features.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        scales: Sequence[int | tuple[int, int]],
        *,
        phis: int = 4,
        phi_weight: float = 0.5,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, scales)
        if phis < 1 or codebook_size < 1:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"expected at least one phi and one code, got phis={phis}, codebook_size={codebook_size}",
            )
        self.vocabulary_size = codebook_size
        self.commitment_weight = commitment_weight
        self.embedding = nn.Embedding(codebook_size, dim)
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)
        self.quant_resi = nn.ModuleDict(
            {"qresi_ls": nn.ModuleList(Phi(dim, phi_weight) for _ in range(phis))}
        )
        self.phi_of_scale = phis_of_scales(len(self.scales), phis)

    def _quantize_scale(self, tokens: Tensor) -> Quantized:
        table = self.embedding.weight.float()
        vectors = tokens.detach().flatten(0, 1)
        ids = largest_score(vectors, table.detach(), offsets_of_distance(table.detach()))
        ids = ids.unflatten(0, tokens.shape[:2])
        return Quantized(functional.embedding(ids, table), ids, table.new_zeros(()))

    def _codes_of_scale(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.embedding.weight.float())

    def _enlarged(self, index: int, codes: Tensor) -> Tensor:
        if self.scales[index] != self.scales[-1]:
            codes = functional.interpolate(codes, size=self.scales[-1], mode="bicubic")
        phis: nn.ModuleList = self.quant_resi["qresi_ls"]  # type: ignore[assignment]
        return phis[self.phi_of_scale[index]](codes)

    def _loss_of_scale(self, loss: Tensor, target: Tensor, total: Tensor) -> Tensor:
        if not self.training:
            return loss
        moves_codes = functional.mse_loss(total, target.detach())
        moves_features = functional.mse_loss(total.detach(), target)
        return moves_codes + self.commitment_weight * moves_features

    def _with_gradients(self, target: Tensor, total: Tensor) -> Tensor:
        return straight_through(target, total) if self.training else total


class Phi(nn.Conv2d):
    """Mixes a map `(b d h w)` with its convolution, in float32."""

    def __init__(self, dim: int, weight_of_convolution: float) -> None:
        super().__init__(dim, dim, kernel_size=3, padding=1)
        self.weight_of_convolution = weight_of_convolution

    def forward(self, codes: Tensor) -> Tensor:
        """Keep the shape."""
        bias = None if self.bias is None else self.bias.float()
        return codes.lerp(
            functional.conv2d(codes, self.weight.float(), bias, padding=1), self.weight_of_convolution
        )


def phis_of_scales(scales: int, phis: int) -> list[int]:
    """Give for each scale the phi whose tick is nearest, on a line from the first scale to the last.

    Scales may lie half way between two ticks, so that rounding decides: it is VAR's arithmetic.
    """
    margin = 1 / 3 / phis if phis == 4 else 1 / 2 / phis
    ticks = numpy.linspace(margin, 1 - margin, phis)
    places = [index / max(scales - 1, 1) for index in range(scales)]
    return [int(numpy.argmin(numpy.abs(ticks - place))) for place in places]
