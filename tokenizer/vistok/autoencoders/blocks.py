"""What the autoencoders are built from, so that a position's features depend on a bounded window alone.

Normalization is over the channels of one position: statistics over the picture (GroupNorm) would make each
token depend on pixels far away, and in a video on what comes later. The norm is the root mean square's
(Zhang and Sennrich, arXiv:1910.07467).
"""

from typing import Annotated

import torch.nn.functional as functional
from pydantic import Field
from torch import Tensor, nn

# Bounds on what a config may ask for, so that a foreign one cannot fill the memory.
Channels = Annotated[int, Field(ge=1, le=4096)]
Blocks = Annotated[int, Field(ge=1, le=64)]

COLOURS = 3
PATCH = 4
"""The side of the squares of pixels that are one position of the finest features."""
_KERNEL = 5
_EXPANSION = 2
_NORM_EPSILON = 1e-6
# Residual branches start small, so that a fresh network passes its input through.
_BRANCH_SCALE = 0.3


class ResidualBlock(nn.Module):
    """Mixes each channel over a position's neighbourhood, then the channels of each position.

    The order of ConvNeXt (Liu et al., arXiv:2201.03545): depthwise convolution, norm, widen, narrow.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels)
        self.norm = nn.RMSNorm(channels, eps=_NORM_EPSILON)
        self.widen = nn.Linear(channels, _EXPANSION * channels)
        self.narrow = nn.Linear(_EXPANSION * channels, channels)
        self.narrow.weight.data *= _BRANCH_SCALE

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape `(b c h w)`."""
        hidden = self.mix_channels(self.spread(features).movedim(1, -1))
        return features + hidden.movedim(-1, 1)

    def mix_channels(self, hidden: Tensor) -> Tensor:
        """Keep the shape `(... c)`."""
        return self.narrow(functional.silu(self.widen(self.norm(hidden))))


class Pointwise(nn.Linear):
    """A linear map of each position's channels, `(b c h w)` to `(b c' h w)`.

    The same as a convolution of one pixel, whose last bits however change with the number of threads.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map the channels."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Make a convolution of 3 x 3 that keeps height and width."""
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
