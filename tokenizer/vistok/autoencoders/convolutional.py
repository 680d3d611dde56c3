"""A small convolutional autoencoder, fully convolutional in size.

The first stage already works at a quarter of the resolution (pixel unshuffle), where convolutions cost a
sixteenth; the second at an eighth. Normalization is over the channels of one position: statistics over
the picture (GroupNorm) would make each token depend on pixels far away. So a token sees a bounded
window, and nothing else. The norm is the root mean square's (Zhang and Sennrich, arXiv:1910.07467).

What this module does not know: quantization, uint8, files, resizing.
"""

from typing import Annotated, Literal

import torch.nn.functional as functional
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

# Bounds on what a config may ask for, so that a foreign one cannot fill the memory.
_Channels = Annotated[int, Field(ge=1, le=4096)]
_Blocks = Annotated[int, Field(ge=1, le=64)]

_PATCH = 4
_COLOURS = 3
_KERNEL = 5
_EXPANSION = 2
_NORM_EPSILON = 1e-6
# Residual branches start small, so that a fresh network passes its input through.
_BRANCH_SCALE = 0.3


class ConvolutionalConfig(BaseModel):
    """Sizes of a `ConvolutionalAutoencoder`; pairs are (a quarter, an eighth) of the resolution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["convolutional"] = "convolutional"
    latent_dim: _Channels
    widths: tuple[_Channels, _Channels] = (48, 192)
    encoder_blocks: tuple[_Blocks, _Blocks] = (1, 4)
    decoder_blocks: tuple[_Blocks, _Blocks] = (1, 4)


class ConvolutionalAutoencoder(nn.Module):
    """Pictures `(b 3 h w)` in [-1, 1] to feature maps `(b d h/8 w/8)` and back.

    Height and width must be multiples of `factor`.
    """

    factor = 2 * _PATCH

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        fine, coarse = config.widths
        fine_blocks, coarse_blocks = config.encoder_blocks
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(_PATCH),
            _convolution(_COLOURS * _PATCH**2, fine),
            *(ResidualBlock(fine) for _ in range(fine_blocks)),
            nn.PixelUnshuffle(2),
            Pointwise(4 * fine, coarse),
            *(ResidualBlock(coarse) for _ in range(coarse_blocks)),
            _convolution(coarse, config.latent_dim),
        )
        fine_blocks, coarse_blocks = config.decoder_blocks
        self.decoder = nn.Sequential(
            _convolution(config.latent_dim, coarse),
            *(ResidualBlock(coarse) for _ in range(coarse_blocks)),
            Pointwise(coarse, 4 * fine),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(fine_blocks)),
            _convolution(fine, _COLOURS * _PATCH**2),
            nn.PixelShuffle(_PATCH),
        )

    def encode(self, pixels: Tensor) -> Tensor:
        """Give the feature map `(b d h/8 w/8)` of pictures `(b 3 h w)`."""
        return self.encoder(pixels)

    def decode(self, codes: Tensor) -> Tensor:
        """Give the pictures `(b 3 8h 8w)`, about in [-1, 1], of codes `(b d h w)`."""
        return self.decoder(codes)


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
        hidden = self.norm(self.spread(features).movedim(1, -1))
        hidden = self.narrow(functional.silu(self.widen(hidden)))
        return features + hidden.movedim(-1, 1)


class Pointwise(nn.Linear):
    """A linear map of each position's channels, `(b c h w)` to `(b c' h w)`.

    The same as a convolution of one pixel, whose last bits however change with the number of threads.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map the channels."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
