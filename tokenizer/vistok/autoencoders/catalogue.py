"""The autoencoders that a config can name."""

from typing import Annotated

from pydantic import Discriminator, Tag

from vistok.autoencoders.causal import CausalAutoencoder, CausalConfig
from vistok.autoencoders.convolutional import ConvolutionalAutoencoder, ConvolutionalConfig
from vistok.autoencoders.cosmos.autoencoder import CosmosAutoencoder
from vistok.autoencoders.cosmos.config import CosmosConfig, CosmosVideoConfig
from vistok.autoencoders.cosmos.video_autoencoder import CosmosVideoAutoencoder
from vistok.autoencoders.vqgan.autoencoder import VqganAutoencoder
from vistok.autoencoders.vqgan.config import VqganConfig
from vistok_protocol.tokens import Kind

VideoAutoencoder = CausalAutoencoder | CosmosVideoAutoencoder
"""Those that take a clip in pieces, with a `Memory` between them."""

Autoencoder = ConvolutionalAutoencoder | VqganAutoencoder | CosmosAutoencoder | VideoAutoencoder


def _type(values: object) -> object:
    """Tell which config is meant: the first that there was, if it does not say."""
    if isinstance(values, dict):
        return values.get("type", "convolutional")
    return getattr(values, "type", None)


AutoencoderConfig = Annotated[
    Annotated[ConvolutionalConfig, Tag("convolutional")]
    | Annotated[CausalConfig, Tag("causal")]
    | Annotated[VqganConfig, Tag("vqgan")]
    | Annotated[CosmosConfig, Tag("cosmos")]
    | Annotated[CosmosVideoConfig, Tag("cosmos_video")],
    Discriminator(_type),
]


def built(config: AutoencoderConfig) -> Autoencoder:
    """Make an autoencoder with fresh weights."""
    match config:
        case ConvolutionalConfig():
            return ConvolutionalAutoencoder(config)
        case CausalConfig():
            return CausalAutoencoder(config)
        case VqganConfig():
            return VqganAutoencoder(config)
        case CosmosConfig():
            return CosmosAutoencoder(config)
        case CosmosVideoConfig():
            return CosmosVideoAutoencoder(config)


def kind_of(config: AutoencoderConfig) -> Kind:
    """Tell what an autoencoder is for."""
    return "video" if isinstance(config, CausalConfig | CosmosVideoConfig) else "image"
