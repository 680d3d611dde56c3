"""Features to pictures."""

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.vqgan.blocks import (
    AdaptiveNormalization,
    DepthToSpace,
    Upsample,
    convolution,
    normalization,
)
from vistok.autoencoders.vqgan.config import VqganConfig
from vistok.autoencoders.vqgan.encoder import COLOURS
from vistok.autoencoders.vqgan.levels import blocks, code_channels, middle, run


class Decoder(nn.Module):
    """`(b feature_dim h w)`, and the codes that they are made of, to `(b 3 H W)`."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        side = config.decoder
        lowest = side.widths[-1]
        self.conv_in = convolution(config.feature_dim, lowest, bias=side.edge_bias)
        self.mid = middle(config, side)
        inputs = (*side.widths[1:], lowest)
        self.up = nn.ModuleList(_Level(config, level, channels) for level, channels in enumerate(inputs))
        self.adaptive = nn.ModuleList(
            AdaptiveNormalization(channels, config.latent_dim) for channels in inputs if config.adaptive
        )
        self.norm_out = normalization(side.widths[0], code_channels(config, side))
        self.conv_out = convolution(side.widths[0], COLOURS, side.out_kernel)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Go up, level by level."""
        features = self.conv_in(features)
        for block in self.mid:
            features = block(features, codes)
        for level in reversed(range(len(self.up))):
            if self.adaptive:
                features = self.adaptive[level](features, codes)
            features = self.up[level](features, codes)
        return self.conv_out(functional.silu(self.norm_out(features, codes)))


class _Level(nn.Module):
    def __init__(self, config: VqganConfig, level: int, channels_in: int) -> None:
        super().__init__()
        self.block, self.attn = blocks(config, config.decoder, level, channels_in)
        self.upsample: nn.Module | None = None
        if level:
            kind = Upsample if config.upsampling == "nearest" else DepthToSpace
            self.upsample = kind(config.decoder.widths[level])

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        features = run(self.block, self.attn, features, codes)
        return features if self.upsample is None else self.upsample(features)
