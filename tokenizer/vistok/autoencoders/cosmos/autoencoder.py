"""Both networks of an image tokenizer, with the convolutions beside the quantizer."""

from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosConfig
from vistok.autoencoders.cosmos.decoder import Decoder
from vistok.autoencoders.cosmos.encoder import Encoder
from vistok.autoencoders.vqgan.blocks import convolution


class CosmosAutoencoder(nn.Module):
    """Pictures `(b 3 H W)` in [-1, 1] to feature maps `(b d h w)` and back.

    Height and width must be multiples of `factor`.
    """

    temporal_factor = 1

    def __init__(self, config: CosmosConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.factor = config.factor
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = convolution(config.feature_dim, config.latent_dim, kernel=1)
        self.post_quant_conv = convolution(config.latent_dim, config.feature_dim, kernel=1)

    def encode(self, pixels: Tensor) -> Tensor:
        """Give the feature map."""
        return self.quant_conv(self.encoder(pixels))

    def decode(self, codes: Tensor) -> Tensor:
        """Give the pictures, about in [-1, 1]."""
        return self.decoder(self.post_quant_conv(codes))
