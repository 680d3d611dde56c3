"""FSQ: each latent channel is bounded and rounded to one of a few levels (Mentzer et al., arXiv:2309.15505).

There is no codebook to train. Small networks leave much of the vocabulary unused: an optional loss asks for
batches that spread over it. An id is the mixed-radix number of the rounded channels,
the first channel least significant.
"""

from collections.abc import Sequence
from math import log, prod
from typing import NamedTuple

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import Constants, full_precision, projections
from vistok.quantizers.scalar.diversity import batch_entropy
from vistok_protocol.errors import ErrorCode, VistokError

# The bound is stretched by this share so that the outermost levels can be reached.
_STRETCH = 1e-3
# Of the soft levels in the diversity loss: a value half way between two levels belongs to both, a value on a
# level to that one for nine tenths.
_SHARPNESS = 3.0


class FSQOutput(NamedTuple):
    """What calling an `FSQ` gives."""

    codes: Tensor
    """As the input, values in [-1, 1]; `(levels // 2)` steps on each side of zero."""
    indices: Tensor
    """int32, the input's shape without its channel axis."""


class FSQ(Quantizer):
    """Finite scalar quantization.

    Args:
        levels: number of values of each latent channel, at least 3 each.
        dim: channels of the feature map; where it differs from `len(levels)`, linear layers project
            in and out. Default: `len(levels)`.
        channel_first: read three-axis inputs as `(b d n)`; inputs of four axes and more always are.
        diversity_weight: weight in the loss of the vocabulary's unused share of entropy, in nats.
    """

    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        channel_first: bool = False,
        *,
        diversity_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not levels or not all(isinstance(n, int) and n >= 3 for n in levels) or prod(levels) > 2**62:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"FSQ needs levels of at least 3 whose product is at most 2**62, got {list(levels)}",
            )
        self.levels = tuple(levels)
        self.dim = len(levels) if dim is None else dim
        self.vocabulary_size = prod(levels)
        self.channel_first = True if channel_first else None
        self.diversity_weight = diversity_weight
        self.project_in, self.project_out = projections(self.dim, len(levels))
        self._grid = self._constants()

    def _constants(self) -> Constants:
        sizes = torch.tensor(self.levels, dtype=torch.float32)
        half_width = (sizes - 1) * (1 + _STRETCH) / 2
        # An even number of levels has no middle one: half a step's shift lets rounding see whole numbers.
        offset = torch.where(sizes % 2 == 0, 0.5, 0.0)
        return Constants(
            half_width=half_width,
            offset=offset,
            shift=torch.atanh(offset / half_width),
            steps=sizes // 2,
            sizes=torch.tensor(self.levels),
            basis=torch.tensor([prod(self.levels[:i]) for i in range(len(self.levels))]),
        )

    def forward(self, z: Tensor) -> FSQOutput:
        """Quantize `(b *space d)`, `(b d *space)` or `(b d)`; any floating dtype, computed in float32."""
        codes, indices, _ = self._arranged(z, None, self.channel_first)
        return FSQOutput(codes.to(z.dtype), indices.int())

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Decode indices `(b n)` to `(b n d)`, and `(b *space)` with more axes to `(b d *space)`."""
        return self._looked_up(indices, self.channel_first)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            bounded = self._bound(tokens)
            rounded = bounded.round()
            codes = self.project_out(straight_through(bounded, rounded) / self._grid.steps)
            return Quantized(codes, self._number(rounded), self._loss(bounded))

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._number(self._bound(tokens).round())

    def _codes(self, ids: Tensor) -> Tensor:
        digits = ids.unsqueeze(-1) // self._grid.basis % self._grid.sizes
        return self.project_out((digits - self._grid.steps) / self._grid.steps)

    def _bound(self, tokens: Tensor) -> Tensor:
        grid = self._grid
        return torch.tanh(self.project_in(tokens) + grid.shift) * grid.half_width - grid.offset

    def _loss(self, bounded: Tensor) -> Tensor:
        if not self.training or not self.diversity_weight:
            return bounded.new_zeros(())
        digits = [
            self._soft_digit(*channel) for channel in zip(self.levels, bounded.flatten(0, 1).T, strict=True)
        ]
        return self.diversity_weight * (log(self.vocabulary_size) - batch_entropy(digits))

    def _soft_digit(self, levels: int, values: Tensor) -> Tensor:
        """Share each bounded value `(n)` among the levels near it, `(n levels)`."""
        values_of_levels = torch.arange(levels, device=values.device) - levels // 2
        return (-_SHARPNESS * (values[:, None] - values_of_levels).square()).softmax(dim=1)

    def _number(self, rounded: Tensor) -> Tensor:
        return ((rounded + self._grid.steps).long() * self._grid.basis).sum(dim=-1)
