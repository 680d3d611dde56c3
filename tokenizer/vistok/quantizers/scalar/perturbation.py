"""FSP: a channel is squeezed into (0, 1) by a distribution, and the unit interval is cut into equal cells.

    id digit = floor(L cdf(z)),   code = ((digit + 1/2) / L - 1/2) sqrt(12)

Instead of rounding, training moves values at random within a cell's width, so that a decoder sees all of the
cell (arXiv:2602.17133). A loss on the channels' moments keeps the cells evenly filled. The first
channel is the least significant digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.layouts import as_tokens
from vistok.quantizers.precision import Constants, full_precision, projections
from vistok.quantizers.scalar.base import indices_dtype
from vistok.quantizers.scalar.distributions import DISTRIBUTIONS
from vistok_protocol.errors import ErrorCode, VistokError

# Makes the codes' variance that of a standard normal: values in a unit interval have 1/12.
_SPREAD = sqrt(12)
_SMALLEST_DEVIATION = 1e-8


@dataclass(frozen=True)
class MomentTargets:
    """Variance that the channels should have, and the weights of the squared misses of four moments."""

    variance: float = 1.0
    weights: tuple[float, float, float, float] = (0.1, 0.07, 0.0, 0.0)

    def loss(self, moments: dict[str, Tensor]) -> Tensor:
        """Weigh how far each channel's moments, in the order of the weights, are from the targets."""
        targets = (0.0, self.variance, 0.0, 0.0)
        misses = [(m - t).square().mean() for m, t in zip(moments.values(), targets, strict=True)]
        return torch.stack([w * miss for w, miss in zip(self.weights, misses, strict=True)]).sum()


MOMENT_TARGETS = {
    "none": MomentTargets(weights=(0.0, 0.0, 0.0, 0.0)),
    "var": MomentTargets(),
    "kurt": MomentTargets(weights=(0.1, 0.07, 0.06, 0.05)),
    "var_tanh": MomentTargets(variance=0.8225),
    "var_sigmoid": MomentTargets(variance=3.29),
    "var_laplace": MomentTargets(variance=2.0),
}


class FSPOutput(NamedTuple):
    """What calling an `FSP` gives."""

    codes: Tensor
    """As the input."""
    indices: Tensor
    """int32, beyond 2^31 ids int64, the input's shape without its channel axis."""
    norm_loss: Tensor
    """Scalar, zero in eval mode."""
    other_info: dict[str, Any]
    """`level_indices` `(b *space channels)`; `norm_info`, the moments of each channel."""


class FSP(Quantizer):
    """Finite scalar perturbation.

    Args:
        levels: number of cells of each latent channel.
        dim: channels of the features; where it differs from `len(levels)`, linear layers project.
        channel_first: read inputs as `(b d *space)`; otherwise their channels come last.
        projection_has_bias: of these layers.
        act_name: the distribution: tanh, sigmoid, normal, laplace or cauchy.
        quantize_rate: share of values that training rounds; the others it perturbs.
        need_inv_act: codes are what the distribution's inverse gives for the middle of a cell.
        vector_norm: the moments that the loss asks for: none, var, kurt, var_tanh, var_sigmoid, var_laplace.
    """

    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        channel_first: bool = False,
        projection_has_bias: bool = True,
        act_name: str = "tanh",
        quantize_rate: float = 0.0,
        need_inv_act: bool = False,
        vector_norm: str = "var_tanh",
    ) -> None:
        super().__init__()
        _check(levels, act_name, quantize_rate, vector_norm)
        self.levels = tuple(levels)
        self.codebook_dim = len(levels)
        self.dim = len(levels) if dim is None else dim
        self.vocabulary_size = self.codebook_size = prod(levels)
        self.channel_first = channel_first
        self.quantize_rate = quantize_rate
        self.need_inv_act = need_inv_act
        self._distribution = DISTRIBUTIONS[act_name]
        self._targets = MOMENT_TARGETS[vector_norm]
        self.project_in, self.project_out = projections(self.dim, len(levels), projection_has_bias)
        self._grid = Constants(
            sizes=torch.tensor(levels),
            basis=torch.tensor([prod(levels[:i]) for i in range(len(levels))]),
        )

    def forward(self, z: Tensor, eps: float | None = None) -> FSPOutput:
        """Quantize `(b *space d)` or, as the constructor says, `(b d *space)`, computed in float32.

        Args:
            z: the features.
            eps: how far below 1 probabilities stay, so that the last cell holds them.
        """
        tokens, layout = as_tokens(z, self.dim, self.channel_first)
        with full_precision(z.device):
            latents = self.project_in(tokens)
            moments = _moments(latents.flatten(0, 1))
            probability = self._distribution.cumulative(latents)
            digits = self._digits(probability, eps)
            codes = self._code(latents, self._middle_or_near(probability, digits))
            loss = self._targets.loss(moments) if self.training else latents.new_zeros(())
        info = {"level_indices": layout.ids(digits), "norm_info": moments}
        return FSPOutput(
            layout.codes(codes).to(z.dtype), self._indices(layout.ids(self._number(digits))), loss, info
        )

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Give the codes, in the layout of the input, of indices `(b *space)`."""
        return self._looked_up(indices, self.channel_first)

    def indices_to_level_indices(self, indices: Tensor) -> Tensor:
        """Give the cells `(... channels)` of each channel of indices `(...)`."""
        return indices.unsqueeze(-1) // self._grid.basis % self._grid.sizes

    def level_indices_to_indices(self, level_indices: Tensor) -> Tensor:
        """Give the indices `(...)` of each channel's cells `(... channels)`."""
        return self._indices(self._number(level_indices))

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            latents = self.project_in(tokens)
            probability = self._distribution.cumulative(latents)
            digits = self._digits(probability, None)
            loss = latents.new_zeros(())
            if self.training:
                loss = self._targets.loss(_moments(latents.flatten(0, 1) if mask is None else latents[mask]))
            codes = self._code(latents, self._middle_or_near(probability, digits))
            return Quantized(codes, self._number(digits), loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            probability = self._distribution.cumulative(self.project_in(tokens))
            return self._number(self._digits(probability, None))

    def _codes(self, ids: Tensor) -> Tensor:
        middle = self._middle(self.indices_to_level_indices(ids))
        with full_precision(ids.device):
            return self.project_out(self._value(middle))

    def _digits(self, probability: Tensor, eps: float | None) -> Tensor:
        largest = 1 - (torch.finfo(torch.float32).eps if eps is None else eps)
        return (probability.detach().clamp(max=largest) * self._grid.sizes).floor().long()

    def _middle(self, digits: Tensor) -> Tensor:
        return (digits + 0.5) / self._grid.sizes

    def _middle_or_near(self, probability: Tensor, digits: Tensor) -> Tensor:
        """Give the middle of the cell or, in training for a share of the values, a random place nearby."""
        rounded = straight_through(probability, self._middle(digits))
        if not self.training or self.quantize_rate == 1:
            return rounded
        moved = probability + (torch.rand_like(probability) - 0.5) / self._grid.sizes
        near = torch.where((moved > 0) & (moved < 1), moved, probability)
        return torch.where(torch.rand_like(probability) > self.quantize_rate, near, rounded)

    def _code(self, latents: Tensor, probability: Tensor) -> Tensor:
        value = self._value(probability)
        return self.project_out(straight_through(latents, value) if self.need_inv_act else value)

    def _value(self, probability: Tensor) -> Tensor:
        if not self.need_inv_act:
            return (probability - 0.5) * _SPREAD
        smallest = torch.finfo(torch.float32).eps
        return self._distribution.inverse(probability.clamp(smallest, 1 - smallest))

    def _indices(self, ids: Tensor) -> Tensor:
        return ids.to(indices_dtype(self.vocabulary_size))

    def _number(self, digits: Tensor) -> Tensor:
        return (digits * self._grid.basis).sum(dim=-1)


def _moments(latents: Tensor) -> dict[str, Tensor]:
    """Give mean, variance, skewness and excess kurtosis `(d)` of latents `(n d)`."""
    variance, mean = torch.var_mean(latents, dim=0, correction=min(1, len(latents) - 1))
    standard = (latents - mean) / variance.sqrt().clamp(min=_SMALLEST_DEVIATION)
    return {
        "mean": mean,
        "variance": variance,
        "skewness": standard.pow(3).mean(dim=0),
        "kurtosis": standard.pow(4).mean(dim=0) - 3,
    }


def _check(levels: Sequence[int], act_name: str, quantize_rate: float, vector_norm: str) -> None:
    if not levels or min(levels) < 1 or prod(levels) > 2**62:
        raise _refusal(f"levels of at least 1 whose product is at most 2**62, got {list(levels)}")
    if act_name not in DISTRIBUTIONS:
        raise _refusal(f"act_name to be one of {', '.join(DISTRIBUTIONS)}, got {act_name!r}")
    if vector_norm not in MOMENT_TARGETS:
        raise _refusal(f"vector_norm to be one of {', '.join(MOMENT_TARGETS)}, got {vector_norm!r}")
    if not 0 <= quantize_rate <= 1:
        raise _refusal(f"quantize_rate to be from 0 to 1, got {quantize_rate}")


def _refusal(expected: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_REQUEST, f"FSP expects {expected}")
