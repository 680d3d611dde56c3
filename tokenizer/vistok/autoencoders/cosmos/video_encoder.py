"""Clips to features, as Cosmos's video tokenizers do it (NVIDIA, arXiv:2501.03575)."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosVideoConfig, VideoSideConfig
from vistok.autoencoders.cosmos.resizing import Shrink
from vistok.autoencoders.cosmos.video_blocks import (
    Attention,
    Convolution,
    ResidualBlock,
    normalization,
    one_by_one,
)
from vistok.autoencoders.cosmos.wavelets import OF_CLIPS, to_channels
from vistok.autoencoders.memory import Memory
from vistok.autoencoders.vqgan.encoder import COLOURS


class VideoEncoder(nn.Module):
    """`(b 3 T H W)` to `(b t feature_dim h w)`."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        side = config.encoder
        lowest = side.widths[-1]
        inputs = (config.stem, *side.widths[:-1])
        self._patch = config.patch
        self.conv_in = Convolution(COLOURS * config.patch**3, config.stem)
        self.down = nn.ModuleList(_Level(side, level, channels) for level, channels in enumerate(inputs))
        self.mid = Middle(lowest)
        self.norm_out = normalization(lowest)
        self.conv_out = Convolution(lowest, config.feature_dim)

    def forward(self, clip: Tensor, memory: Memory) -> Tensor:
        """Go down, level by level."""
        if memory.is_fresh:
            # A patch of its own for the first frame of a clip.
            clip = torch.cat((clip[:, :, :1].expand(-1, -1, self._patch - 1, -1, -1), clip), dim=2)
        frames = self.conv_in(to_channels(clip, self._patch, OF_CLIPS).transpose(1, 2), memory)
        for level in self.down:
            frames = level(frames, memory)
        frames = one_by_one(self.norm_out, self.mid(frames, memory))
        return self.conv_out(functional.silu(frames), memory)


class Blocks(nn.Module):
    """The residual blocks of a level, with attention behind each of them, if there is any."""

    def __init__(self, side: VideoSideConfig, level: int, channels_in: int) -> None:
        super().__init__()
        width, count = side.widths[level], side.blocks[level]
        inputs = (channels_in, *[width] * (count - 1))
        self.block = nn.ModuleList(ResidualBlock(channels, width) for channels in inputs)
        self.attn = nn.ModuleList(Attention(width) for _ in range(count if side.attention[level] else 0))

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Give frames `(b t width h w)`."""
        for index, block in enumerate(self.block):
            frames = block(frames, memory)
            if self.attn:
                frames = self.attn[index](frames, memory)
        return frames


class _Level(Blocks):
    def __init__(self, side: VideoSideConfig, level: int, channels_in: int) -> None:
        super().__init__(side, level, channels_in)
        width, resized, retimed = side.widths[level], side.resized[level], side.retimed[level]
        self.downsample = Shrink(width, resized, retimed) if resized or retimed else None

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        frames = super().forward(frames, memory)
        return frames if self.downsample is None else self.downsample(frames, memory)


class Middle(nn.ModuleList):
    """What is at the lowest resolution."""

    def __init__(self, width: int) -> None:
        super().__init__((ResidualBlock(width, width), Attention(width), ResidualBlock(width, width)))

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Keep the shape `(b t c h w)`."""
        for layer in self:
            frames = layer(frames, memory)
        return frames
