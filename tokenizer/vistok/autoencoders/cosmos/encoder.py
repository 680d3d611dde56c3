"""Pictures to features, as Cosmos's image tokenizers do it (NVIDIA, arXiv:2501.03575)."""

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosConfig, SideConfig
from vistok.autoencoders.cosmos.wavelets import OF_PICTURES, to_channels
from vistok.autoencoders.vqgan.blocks import (
    AttentionBlock,
    Downsample,
    ResidualBlock,
    convolution,
    normalization,
)
from vistok.autoencoders.vqgan.encoder import COLOURS
from vistok.autoencoders.vqgan.levels import run


class Encoder(nn.Module):
    """`(b 3 H W)` to `(b feature_dim h w)`."""

    def __init__(self, config: CosmosConfig) -> None:
        super().__init__()
        side = config.encoder
        lowest = side.widths[-1]
        inputs = (config.stem, *side.widths[:-1])
        self._patch = config.patch
        self.conv_in = convolution(COLOURS * config.patch**2, config.stem)
        self.down = nn.ModuleList(_Level(side, level, channels) for level, channels in enumerate(inputs))
        self.mid = middle(lowest)
        self.norm_out = normalization(lowest)
        self.conv_out = convolution(lowest, config.feature_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Go down, level by level."""
        features = self.conv_in(to_channels(pixels, self._patch, OF_PICTURES))
        for level in self.down:
            features = level(features)
        return self.conv_out(functional.silu(self.norm_out(self.mid(features))))


class _Level(nn.Module):
    def __init__(self, side: SideConfig, level: int, channels_in: int) -> None:
        super().__init__()
        self.block, self.attn = blocks(side, level, channels_in)
        self.downsample: nn.Module | None = None
        if side.resized[level]:
            self.downsample = Downsample(side.widths[level], "padded_after")

    def forward(self, features: Tensor) -> Tensor:
        features = run(self.block, self.attn, features)
        return features if self.downsample is None else self.downsample(features)


def blocks(side: SideConfig, level: int, channels_in: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Give the residual blocks of a level, and the attention behind each of them, if there is any."""
    width, count = side.widths[level], side.blocks[level]
    inputs = (channels_in, *[width] * (count - 1))
    residual = (_residual(channels, width) for channels in inputs)
    attention = (AttentionBlock(width) for _ in range(count if side.attention[level] else 0))
    return nn.ModuleList(residual), nn.ModuleList(attention)


def middle(width: int) -> nn.Sequential:
    """Give what is at the lowest resolution."""
    return nn.Sequential(_residual(width, width), AttentionBlock(width), _residual(width, width))


def _residual(channels_in: int, channels_out: int) -> ResidualBlock:
    return ResidualBlock(channels_in, channels_out, bias=True, shortcut="input")
