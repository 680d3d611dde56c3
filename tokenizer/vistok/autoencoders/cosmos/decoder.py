"""Features to pictures, as Cosmos's image tokenizers do it (NVIDIA, arXiv:2501.03575)."""

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosConfig, SideConfig
from vistok.autoencoders.cosmos.encoder import blocks, middle
from vistok.autoencoders.cosmos.wavelets import OF_PICTURES, to_pixels
from vistok.autoencoders.vqgan.blocks import Upsample, convolution, normalization
from vistok.autoencoders.vqgan.encoder import COLOURS
from vistok.autoencoders.vqgan.levels import run


class Decoder(nn.Module):
    """`(b feature_dim h w)` to `(b 3 H W)`."""

    def __init__(self, config: CosmosConfig) -> None:
        super().__init__()
        side = config.decoder
        highest, lowest = side.widths[0], side.widths[-1]
        inputs = (*side.widths[1:], lowest)
        self._patch = config.patch
        self.conv_in = convolution(config.feature_dim, lowest)
        self.mid = middle(lowest)
        self.up = nn.ModuleList(_Level(side, level, channels) for level, channels in enumerate(inputs))
        self.norm_out = normalization(highest)
        self.conv_out = convolution(highest, COLOURS * config.patch**2)

    def forward(self, codes: Tensor) -> Tensor:
        """Go up, level by level."""
        features = self.mid(self.conv_in(codes))
        for level in reversed(self.up):
            features = level(features)
        channels = self.conv_out(functional.silu(self.norm_out(features)))
        return to_pixels(channels, self._patch, OF_PICTURES)


class _Level(nn.Module):
    def __init__(self, side: SideConfig, level: int, channels_in: int) -> None:
        super().__init__()
        self.block, self.attn = blocks(side, level, channels_in)
        self.upsample: nn.Module | None = None
        if side.resized[level]:
            self.upsample = Upsample(side.widths[level])

    def forward(self, features: Tensor) -> Tensor:
        features = run(self.block, self.attn, features)
        return features if self.upsample is None else self.upsample(features)
