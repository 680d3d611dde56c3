"""An autoencoder for clips in which nothing depends on what comes later.

Frames go to an eighth of the resolution one by one; there, time is halved twice. A latent frame stands for
four frames, the first of a clip for one: `1 + 4 n` frames give `1 + n` latent frames, so that a picture is a
clip of one frame. Of each latent frame the decoder makes the last of its frames, and the others by the way
that things moved since the latent frame before. Time is mixed by causal convolutions of three frames, and
normalization knows one position alone. So a clip may come in pieces, with a `Memory` between them, and gives
the same as in one.

What this module does not know: quantization, padding to whole groups of frames, files.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vistok.autoencoders.blocks import COLOURS, PATCH, Blocks, Channels, Pointwise, ResidualBlock, convolution
from vistok.autoencoders.memory import Memory
from vistok.autoencoders.motion import Between

_TAPS = 3
_GROUP = 4
"""Frames of a latent frame."""


class CausalConfig(BaseModel):
    """Sizes of a `CausalAutoencoder`.

    Attributes:
        widths: channels at a quarter and at an eighth of the resolution.
        encoder_blocks: at a quarter of the resolution; at an eighth with all frames, half of them, a quarter.
        decoder_blocks: at a quarter of the resolution; at an eighth, of each latent frame.
        motion_width: channels of what finds how things move.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["causal"]
    latent_dim: Channels
    widths: tuple[Channels, Channels] = (48, 192)
    encoder_blocks: tuple[Blocks, Blocks, Blocks, Blocks] = (1, 1, 1, 4)
    decoder_blocks: tuple[Blocks, Blocks] = (1, 8)
    motion_width: Channels = 48


class CausalAutoencoder(nn.Module):
    """Clips `(b 3 t h w)` in [-1, 1] to feature maps `(b d 1+(t-1)/4 h/8 w/8)` and back.

    Height and width must be multiples of `factor`, and frames come in whole groups: `1 + 4 n` at the start of
    a clip, `4 n` after that. With a memory, a clip may come in such pieces, one after the other.
    """

    factor = 2 * PATCH
    temporal_factor = _GROUP

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)

    def encode(self, clip: Tensor, memory: Memory | None = None) -> Tensor:
        """Give the feature map `(b d 1+(t-1)/4 h/8 w/8)` of frames `(b 3 t h w)`."""
        return _run(self.encoder, clip, memory)

    def decode(self, codes: Tensor, memory: Memory | None = None) -> Tensor:
        """Give the frames `(b 3 1+4(t-1) 8h 8w)`, about in [-1, 1], of codes `(b d t h w)`."""
        return _run(self.decoder, codes, memory)


class _Encoder(nn.Module):
    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        fine, coarse = config.widths
        each_fine, each, half, quarter = config.encoder_blocks
        self.shrink = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            convolution(COLOURS * PATCH**2, fine),
            *(ResidualBlock(fine) for _ in range(each_fine)),
            nn.PixelUnshuffle(2),
            Pointwise(4 * fine, coarse),
        )
        self.over_time = nn.ModuleList(
            [
                *(CausalBlock(coarse) for _ in range(each)),
                HalvedTime(coarse),
                *(CausalBlock(coarse) for _ in range(half)),
                HalvedTime(coarse),
                *(CausalBlock(coarse) for _ in range(quarter)),
            ]
        )
        self.project = convolution(coarse, config.latent_dim)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        frames = _one_by_one(self.shrink, frames)
        for layer in self.over_time:
            frames = layer(frames, memory)
        return _one_by_one(self.project, frames)


class _Decoder(nn.Module):
    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        fine, coarse = config.widths
        fine_blocks, coarse_blocks = config.decoder_blocks
        self.project = convolution(config.latent_dim, coarse)
        self.over_time = nn.ModuleList(CausalBlock(coarse) for _ in range(coarse_blocks))
        self.enlarge = nn.Sequential(
            Pointwise(coarse, 4 * fine),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(fine_blocks)),
            convolution(fine, COLOURS * PATCH**2),
            nn.PixelShuffle(PATCH),
        )
        self.between = Between(config.motion_width, _GROUP - 1)

    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        latents = _one_by_one(self.project, latents)
        for layer in self.over_time:
            latents = layer(latents, memory)
        return self._filled(_one_by_one(self.enlarge, latents), memory)

    def _filled(self, last_frames: Tensor, memory: Memory) -> Tensor:
        """Give groups of frames `(b t h w 3)` whose last ones these are; the first of a clip is alone."""
        joined = memory.join(last_frames, 1)
        alone = int(memory.is_fresh)
        if last_frames.shape[1] == alone:
            return last_frames
        before, after = joined[:, alone:-1].movedim(-1, 2), joined[:, 1 + alone :].movedim(-1, 2)
        between = self.between(before.flatten(0, 1), after.flatten(0, 1)).unflatten(0, after.shape[:2])
        groups = torch.cat((between, after[:, :, None]), dim=2).flatten(1, 2).movedim(2, -1)
        return torch.cat((last_frames[:, :alone], groups), dim=1)


class CausalBlock(ResidualBlock):
    """A `ResidualBlock` that also mixes each channel over a frame and the two before it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        # A fresh block looks at the present alone.
        self.taps = nn.Parameter(torch.zeros(_TAPS, channels))
        self.taps.data[-1] = 1

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Keep the shape `(b t h w c)`."""
        joined = memory.join(_one_by_one(self.spread, frames), _TAPS - 1)
        count = frames.shape[1]
        mixed = joined[:, :count] * self.taps[0]
        for age in range(1, _TAPS):
            mixed = torch.addcmul(mixed, joined[:, age : age + count], self.taps[age])
        return frames + self.mix_channels(mixed)


class HalvedTime(nn.Linear):
    """One frame for two; the first frame of a clip is paired with itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels, channels)
        # A fresh one takes the later: the decoder makes the last frame of each group, and from it the others.
        self.weight.data.copy_(torch.cat((torch.zeros(channels, channels), torch.eye(channels)), dim=1))

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Give `(b t/2 h w c)` for `(b t h w c)`; `1 + t/2` for the `1 + t` at the start of a clip."""
        if memory.is_fresh:
            frames = torch.cat((frames[:, :1], frames), dim=1)
        pairs = frames.unflatten(1, (-1, 2)).movedim(2, -2).flatten(-2)
        return super().forward(pairs)


def _run(network: Callable[[Tensor, Memory], Tensor], clip: Tensor, memory: Memory | None) -> Tensor:
    """Bring `(b c t h w)` through a network of `(b t h w c)`, and count it as having come."""
    memory = Memory() if memory is None else memory
    result = network(clip.movedim(1, -1), memory)
    memory.end_piece()
    return result.movedim(-1, 1)


def _one_by_one(module: nn.Module, frames: Tensor) -> Tensor:
    """Do what is for pictures `(b c h w)` to each frame of `(b t h w c)`."""
    pictures = frames.flatten(0, 1).movedim(-1, 1)
    return module(pictures).movedim(1, -1).unflatten(0, frames.shape[:2])
