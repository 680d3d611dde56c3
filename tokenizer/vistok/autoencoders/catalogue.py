"""The autoencoders that a config can name."""

from typing import Annotated

from pydantic import Discriminator, Tag

from vistok.autoencoders.causal import CausalAutoencoder, CausalConfig
from vistok.autoencoders.convolutional import ConvolutionalAutoencoder, ConvolutionalConfig

Autoencoder = ConvolutionalAutoencoder | CausalAutoencoder


def _type(values: object) -> object:
    """Tell which config is meant: the first that there was, if it does not say."""
    if isinstance(values, dict):
        return values.get("type", "convolutional")
    return getattr(values, "type", None)


AutoencoderConfig = Annotated[
    Annotated[ConvolutionalConfig, Tag("convolutional")] | Annotated[CausalConfig, Tag("causal")],
    Discriminator(_type),
]


def built(config: ConvolutionalConfig | CausalConfig) -> Autoencoder:
    """Make an autoencoder with fresh weights."""
    return CausalAutoencoder(config) if isinstance(config, CausalConfig) else ConvolutionalAutoencoder(config)
