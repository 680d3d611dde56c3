"""Each channel alone in Gaussian cells, after training: TokenBridge (Wang et al., arXiv:2503.16430).

The latents of a trained continuous autoencoder become ids without training anything. A channel, made standard
normal and cut off at 3 deviations, has n cells of equal probability. A cell's value is the mean of the normal
distribution in it, (f(a) - f(b)) / (F(b) - F(a)) with the density f and the distribution F. The id is that
of the nearest value, which near an edge need not be the value of the cell that the feature lies in.
"""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.layouts import as_tokens
from vistok.quantizers.precision import Constants, full_precision
from vistok_protocol.errors import ErrorCode, VistokError

_RANGE = 3.0
# With more, the outer cells lie beyond the range and are empty: 1 / 741 is less than F(-3).
_MOST_LEVELS = 740


class DimensionWise(Quantizer):
    """Post-training quantization with one id per channel, `(b *space k)` with `k = dim`.

    Calling it gives `Quantized`; `calibrate` measures the channels. There is no
    loss, and absent ids decode to zeros in their channel alone. Mean and deviation are in the state dict.

    Args:
        dim: channels of the features.
        levels: cells of each channel, from 2 to 740; the paper uses 16 to 64.
        mean: of the channels, one for all or one each.
        deviation: standard deviation of the channels, likewise. The paper's own setting, latents of unit
            variance in a range of 5, is 5 / 3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        dim: int,
        levels: int = 64,
        *,
        mean: float | Sequence[float] = 0.0,
        deviation: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__()
        if not 2 <= levels <= _MOST_LEVELS:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"expected 2 to {_MOST_LEVELS} levels, got {levels}")
        self.dim = dim
        self.ids_per_token = dim
        self.codebook_axis = True
        self.vocabulary_size = levels
        self.register_buffer("mean", _per_channel("mean", mean, dim))
        self.register_buffer("deviation", _per_channel("deviation", deviation, dim))
        if not bool((self.deviation > 0).all()):
            raise VistokError(ErrorCode.INVALID_REQUEST, f"expected deviations above 0, got {deviation}")
        values = gaussian_values(levels)
        self._cells = Constants(
            values=values.float(),
            # Between neighbours the nearest value changes half way.
            middles=((values[1:] + values[:-1]) / 2).float(),
        )

    @torch.no_grad()
    def calibrate(self, features: Tensor) -> None:
        """Set mean and deviation to those of the channels of a feature map `(b d *space)`."""
        tokens, _ = as_tokens(features, self.dim, channel_first=True)
        deviation, mean = torch.std_mean(tokens.float(), dim=(0, 1), correction=0)
        self.mean.copy_(mean)
        # A channel that never changes would be divided by zero.
        self.deviation.copy_(deviation.clamp(min=1e-6))

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        ids = self._ids(tokens)
        codes = self._codes(ids)
        loss = codes.new_zeros(())
        return Quantized(straight_through(tokens.float(), codes) if self.training else codes, ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            standard = (tokens.detach().float() - self.mean.float()) / self.deviation.float()
            return torch.bucketize(standard.contiguous(), self._cells.middles)

    def _codes(self, ids: Tensor) -> Tensor:
        return self._cells.values[ids] * self.deviation.float() + self.mean.float()

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        return self._codes(ids.clamp(min=0)) * (ids >= 0)


def gaussian_values(levels: int) -> Tensor:
    """Give the means `(levels)` float64 of a standard normal in cells of equal probability within +-3."""
    probability = torch.linspace(0, 1, levels + 1, dtype=torch.float64)
    edges = torch.special.ndtri(probability).clamp(-_RANGE, _RANGE)
    density = (-0.5 * edges.square()).exp() / (2 * pi) ** 0.5
    return (density[:-1] - density[1:]) / torch.special.ndtr(edges).diff()


def _per_channel(name: str, value: float | Sequence[float], dim: int) -> Tensor:
    values = torch.tensor(value, dtype=torch.float32)
    if values.shape not in ((), (dim,)):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected one {name} or one for each of {dim} channels, got {len(values)}",
        )
    return values.expand(dim).clone()
