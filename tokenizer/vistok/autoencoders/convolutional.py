"""A small convolutional autoencoder, fully convolutional in size.

The first stage already works at a quarter of the resolution (pixel unshuffle), where convolutions cost a
sixteenth; the second at an eighth.

What this module does not know: quantization, uint8, files, resizing.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vistok.autoencoders.blocks import COLOURS, PATCH, Blocks, Channels, Pointwise, ResidualBlock, convolution


class ConvolutionalConfig(BaseModel):
    """Sizes of a `ConvolutionalAutoencoder`; pairs are (a quarter, an eighth) of the resolution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["convolutional"] = "convolutional"
    latent_dim: Channels
    widths: tuple[Channels, Channels] = (48, 192)
    encoder_blocks: tuple[Blocks, Blocks] = (1, 4)
    decoder_blocks: tuple[Blocks, Blocks] = (1, 4)


class ConvolutionalAutoencoder(nn.Module):
    """Pictures `(b 3 h w)` in [-1, 1] to feature maps `(b d h/8 w/8)` and back.

    Height and width must be multiples of `factor`.
    """

    factor = 2 * PATCH
    temporal_factor = 1

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        fine, coarse = config.widths
        fine_blocks, coarse_blocks = config.encoder_blocks
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            convolution(COLOURS * PATCH**2, fine),
            *(ResidualBlock(fine) for _ in range(fine_blocks)),
            nn.PixelUnshuffle(2),
            Pointwise(4 * fine, coarse),
            *(ResidualBlock(coarse) for _ in range(coarse_blocks)),
            convolution(coarse, config.latent_dim),
        )
        fine_blocks, coarse_blocks = config.decoder_blocks
        self.decoder = nn.Sequential(
            convolution(config.latent_dim, coarse),
            *(ResidualBlock(coarse) for _ in range(coarse_blocks)),
            Pointwise(coarse, 4 * fine),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(fine_blocks)),
            convolution(fine, COLOURS * PATCH**2),
            nn.PixelShuffle(PATCH),
        )

    def encode(self, pixels: Tensor) -> Tensor:
        """Give the feature map `(b d h/8 w/8)` of pictures `(b 3 h w)`."""
        return self.encoder(pixels)

    def decode(self, codes: Tensor) -> Tensor:
        """Give the pictures `(b 3 8h 8w)`, about in [-1, 1], of codes `(b d h w)`."""
        return self.decoder(codes)
