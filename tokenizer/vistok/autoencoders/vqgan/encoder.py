"""Pictures to features."""

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.vqgan.blocks import Downsample, convolution, normalization
from vistok.autoencoders.vqgan.config import VqganConfig
from vistok.autoencoders.vqgan.levels import blocks, middle, run

COLOURS = 3


class Encoder(nn.Module):
    """`(b 3 H W)` to `(b feature_dim h w)`."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        side = config.encoder
        self.conv_in = convolution(COLOURS, config.stem, bias=side.edge_bias)
        inputs = (config.stem, *side.widths[:-1])
        self.down = nn.ModuleList(_Level(config, level, channels) for level, channels in enumerate(inputs))
        self.mid = middle(config, side)
        self.norm_out = normalization(side.widths[-1])
        self.conv_out = convolution(side.widths[-1], config.feature_dim, side.out_kernel)

    def forward(self, pixels: Tensor) -> Tensor:
        """Go down, level by level."""
        features = self.conv_in(pixels)
        for level in self.down:
            features = level(features)
        for block in self.mid:
            features = block(features)
        return self.conv_out(functional.silu(self.norm_out(features)))


class _Level(nn.Module):
    def __init__(self, config: VqganConfig, level: int, channels_in: int) -> None:
        super().__init__()
        side = config.encoder
        self.block, self.attn = blocks(config, side, level, channels_in)
        self.downsample: nn.Module | None = None
        if level + 1 < len(side.widths):
            self.downsample = (
                nn.AvgPool2d(2)
                if config.downsampling == "average"
                else Downsample(side.widths[level], config.downsampling)
            )

    def forward(self, features: Tensor) -> Tensor:
        features = run(self.block, self.attn, features)
        return features if self.downsample is None else self.downsample(features)
