"""Features to clips, as Cosmos's video tokenizers do it (NVIDIA, arXiv:2501.03575)."""

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosVideoConfig, VideoSideConfig
from vistok.autoencoders.cosmos.resizing import Grow
from vistok.autoencoders.cosmos.video_blocks import Convolution, normalization, one_by_one
from vistok.autoencoders.cosmos.video_encoder import Blocks, Middle
from vistok.autoencoders.cosmos.wavelets import OF_CLIPS, to_pixels
from vistok.autoencoders.memory import Memory
from vistok.autoencoders.vqgan.encoder import COLOURS


class VideoDecoder(nn.Module):
    """`(b t feature_dim h w)` to `(b 3 T H W)`."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        side = config.decoder
        highest, lowest = side.widths[0], side.widths[-1]
        inputs = (*side.widths[1:], lowest)
        self._patch = config.patch
        self.conv_in = Convolution(config.feature_dim, lowest)
        self.mid = Middle(lowest)
        self.up = nn.ModuleList(_Level(side, level, channels) for level, channels in enumerate(inputs))
        self.norm_out = normalization(highest)
        self.conv_out = Convolution(highest, COLOURS * config.patch**3)

    def forward(self, features: Tensor, memory: Memory) -> Tensor:
        """Go up, level by level."""
        frames = self.mid(self.conv_in(features, memory), memory)
        for level in reversed(self.up):
            frames = level(frames, memory)
        frames = self.conv_out(functional.silu(one_by_one(self.norm_out, frames)), memory)
        clip = to_pixels(frames.transpose(1, 2), self._patch, OF_CLIPS)
        # The first frame of a clip is the last of its patch.
        return clip[:, :, self._patch - 1 :] if memory.is_fresh else clip


class _Level(Blocks):
    def __init__(self, side: VideoSideConfig, level: int, channels_in: int) -> None:
        super().__init__(side, level, channels_in)
        width, resized, retimed = side.widths[level], side.resized[level], side.retimed[level]
        self.upsample = Grow(width, resized, retimed) if resized or retimed else None

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        frames = super().forward(frames, memory)
        return frames if self.upsample is None else self.upsample(frames, memory)
