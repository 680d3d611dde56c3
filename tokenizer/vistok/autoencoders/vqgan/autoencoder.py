"""Both networks, with the convolutions beside the quantizer and the pixels that they were trained on."""

from torch import Tensor, nn

from vistok.autoencoders.vqgan.blocks import convolution
from vistok.autoencoders.vqgan.config import SIGNED, Range, VqganConfig
from vistok.autoencoders.vqgan.decoder import Decoder
from vistok.autoencoders.vqgan.encoder import Encoder


class VqganAutoencoder(nn.Module):
    """Pictures `(b 3 H W)` in [-1, 1] to feature maps `(b d h w)` and back.

    Height and width must be multiples of `factor`.
    """

    temporal_factor = 1

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.factor = 2 ** (len(config.encoder.widths) - 1)
        self._pixels_in, self._pixels_out = config.pixels_in, config.pixels_out
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv: nn.Module = nn.Identity()
        self.post_quant_conv: nn.Module = nn.Identity()
        if config.quantizer_kernel:
            features, codes, kernel = config.feature_dim, config.latent_dim, config.quantizer_kernel
            self.quant_conv = convolution(features, codes, kernel)
            self.post_quant_conv = convolution(codes, features, kernel)

    def encode(self, pixels: Tensor) -> Tensor:
        """Give the feature map."""
        return self.quant_conv(self.encoder(_between(pixels, SIGNED, self._pixels_in)))

    def decode(self, codes: Tensor) -> Tensor:
        """Give the pictures, about in [-1, 1]."""
        return _between(self.decoder(self.post_quant_conv(codes), codes), self._pixels_out, SIGNED)


def _between(pixels: Tensor, given: Range, wanted: Range) -> Tensor:
    """Express pixels in another range."""
    if given == wanted:
        return pixels
    scale = (wanted[1] - wanted[0]) / (given[1] - given[0])
    return (pixels - given[0]) * scale + wanted[0]
