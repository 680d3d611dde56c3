"""The blocks of one level, and of the middle, which are the same on both sides."""

from torch import Tensor, nn

from vistok.autoencoders.vqgan.blocks import AttentionBlock, ResidualBlock
from vistok.autoencoders.vqgan.config import SideConfig, VqganConfig


def blocks(
    config: VqganConfig, side: SideConfig, level: int, channels_in: int
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Give the residual blocks of a level, and the attention behind each of them, if there is any."""
    width, count = side.widths[level], side.blocks[level]
    inputs = (channels_in, *[width] * (count - 1))
    residual = (_residual(config, side, channels, width) for channels in inputs)
    attention = (_attention(config, side, width) for _ in range(count if side.attention[level] else 0))
    return nn.ModuleList(residual), nn.ModuleList(attention)


def run(
    residual: nn.ModuleList, attention: nn.ModuleList, features: Tensor, codes: Tensor | None = None
) -> Tensor:
    """Run the blocks of a level."""
    for index, block in enumerate(residual):
        features = block(features, codes)
        if attention:
            features = attention[index](features, codes)
    return features


def middle(config: VqganConfig, side: SideConfig) -> nn.ModuleList:
    """Give what is at the lowest resolution."""
    width = side.widths[-1]
    return nn.ModuleList(
        _residual(config, side, width, width) if kind == "r" else _attention(config, side, width)
        for kind in side.middle
    )


def _residual(config: VqganConfig, side: SideConfig, channels: int, width: int) -> ResidualBlock:
    return ResidualBlock(channels, width, side.bias, config.shortcut, code_channels(config, side))


def _attention(config: VqganConfig, side: SideConfig, width: int) -> AttentionBlock:
    return AttentionBlock(width, code_channels(config, side))


def code_channels(config: VqganConfig, side: SideConfig) -> int | None:
    """Give the channels of the codes that normalizations of this side depend on, if they do."""
    return config.latent_dim if config.modulated and side is config.decoder else None
