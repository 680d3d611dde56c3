"""iFSQ: FSQ whose bound makes Gaussian channels close to uniform (Lin et al., arXiv:2601.17124).

With L levels, odd, a channel becomes round((2 sigmoid(1.6 z) - 1) (L - 1) / 2). FSQ's tanh crowds Gaussian
features towards the ends; this gentler curve is close to their cumulative distribution, so that all levels
but the outermost two, which are half as wide, are used alike. 2 sigmoid(1.6 z) - 1 is tanh(0.8 z), one step
less to compute. An id is the mixed-radix number of the channels, the first least significant.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import Constants, full_precision, projections
from vistok.quantizers.scalar.digits import MixedRadix
from vistok_protocol.errors import ErrorCode, VistokError

_SLOPE = 0.8


class IFSQ(Quantizer):
    """Finite scalar quantization with a bound for Gaussian features.

    Calling it gives `Quantized`. Latent codes lie in [-1, 1]; there is no loss.

    Args:
        levels: number of values of each latent channel, odd and at least 3; their product at most 2**62.
        dim: channels of the features; where it differs from `len(levels)`, linear layers project
            in and out. Default: `len(levels)`.
    """

    def __init__(self, levels: Sequence[int], dim: int | None = None) -> None:
        super().__init__()
        if not levels or not all(n >= 3 and n % 2 for n in levels) or prod(levels) > 2**62:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"iFSQ needs odd levels of at least 3 whose product is at most 2**62, got {list(levels)}",
            )
        self.levels = tuple(levels)
        self.dim = len(levels) if dim is None else dim
        self.vocabulary_size = prod(levels)
        self.project_in, self.project_out = projections(self.dim, len(levels))
        # Steps on each side of zero.
        self._grid = Constants(steps=torch.tensor([float(n // 2) for n in levels]))
        self._radix = MixedRadix(levels)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            bounded = self._bound(tokens)
            rounded = bounded.round()
            ids = self._number(rounded)
            if self.training:
                rounded = straight_through(bounded, rounded)
            return Quantized(self.project_out(rounded / self._grid.steps), ids, bounded.new_zeros(()))

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._number(self._bound(tokens).round())

    def _codes(self, ids: Tensor) -> Tensor:
        steps = self._grid.steps
        with full_precision(ids.device):
            return self.project_out((self._radix.digits(ids) - steps) / steps)

    def _bound(self, tokens: Tensor) -> Tensor:
        return torch.tanh(_SLOPE * self.project_in(tokens)) * self._grid.steps

    def _number(self, rounded: Tensor) -> Tensor:
        return self._radix.ids(rounded + self._grid.steps)
