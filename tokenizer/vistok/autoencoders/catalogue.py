"""The autoencoders that a config can name."""

from typing import Annotated

from pydantic import Discriminator, Tag

from vistok.autoencoders.causal import CausalAutoencoder, CausalConfig
from vistok.autoencoders.convolutional import ConvolutionalAutoencoder, ConvolutionalConfig
from vistok.autoencoders.vqgan.autoencoder import VqganAutoencoder
from vistok.autoencoders.vqgan.config import VqganConfig

Autoencoder = ConvolutionalAutoencoder | CausalAutoencoder | VqganAutoencoder


def _type(values: object) -> object:
    """Tell which config is meant: the first that there was, if it does not say."""
    if isinstance(values, dict):
        return values.get("type", "convolutional")
    return getattr(values, "type", None)


AutoencoderConfig = Annotated[
    Annotated[ConvolutionalConfig, Tag("convolutional")]
    | Annotated[CausalConfig, Tag("causal")]
    | Annotated[VqganConfig, Tag("vqgan")],
    Discriminator(_type),
]


def built(config: ConvolutionalConfig | CausalConfig | VqganConfig) -> Autoencoder:
    """Make an autoencoder with fresh weights."""
    match config:
        case ConvolutionalConfig():
            return ConvolutionalAutoencoder(config)
        case CausalConfig():
            return CausalAutoencoder(config)
        case VqganConfig():
            return VqganAutoencoder(config)
