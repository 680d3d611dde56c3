"""An autoencoder for clips in which nothing depends on what comes later.

Frames go to an eighth of the resolution one by one; there, time is halved twice. A latent frame stands for
four frames, the first of a clip for one: `1 + 4 n` frames give `1 + n` latent frames, so that a picture is a
clip of one frame. Time is mixed by causal convolutions of three frames, in the decoder too, and normalization
knows one position alone. So a clip may come in pieces, with a `Memory` between them, and gives the same as
in one.

What this module does not know: quantization, padding to whole groups of frames, files.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vistok.autoencoders.blocks import COLOURS, PATCH, Blocks, Channels, Pointwise, ResidualBlock, convolution
from vistok.autoencoders.memory import Memory

_TAPS = 3

Depths = tuple[Blocks, Blocks, Blocks, Blocks]


class CausalConfig(BaseModel):
    """Sizes of a `CausalAutoencoder`.

    Attributes:
        widths: channels at a quarter and at an eighth of the resolution.
        encoder_blocks: at a quarter of the resolution; at an eighth with all frames, half of them, a quarter.
        decoder_blocks: as in the encoder, in the same order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["causal"]
    latent_dim: Channels
    widths: tuple[Channels, Channels] = (48, 192)
    encoder_blocks: Depths = (1, 1, 1, 4)
    decoder_blocks: Depths = (1, 2, 2, 6)


class CausalAutoencoder(nn.Module):
    """Clips `(b 3 t h w)` in [-1, 1] to feature maps `(b d 1+(t-1)/4 h/8 w/8)` and back.

    Height and width must be multiples of `factor`, and frames come in whole groups: `1 + 4 n` at the start of
    a clip, `4 n` after that. With a memory, a clip may come in such pieces, one after the other.
    """

    factor = 2 * PATCH
    temporal_factor = 4

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
        each_fine, each, half, quarter = config.decoder_blocks
        self.project = convolution(config.latent_dim, coarse)
        self.over_time = nn.ModuleList(
            [
                *(CausalBlock(coarse) for _ in range(quarter)),
                DoubledTime(coarse),
                *(CausalBlock(coarse) for _ in range(half)),
                DoubledTime(coarse),
                *(CausalBlock(coarse) for _ in range(each)),
            ]
        )
        self.enlarge = nn.Sequential(
            Pointwise(coarse, 4 * fine),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(each_fine)),
            convolution(fine, COLOURS * PATCH**2),
            nn.PixelShuffle(PATCH),
        )

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        frames = _one_by_one(self.project, frames)
        for layer in self.over_time:
            frames = layer(frames, memory)
        return _one_by_one(self.enlarge, frames)


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
        # A fresh one takes the mean.
        self.weight.data.copy_(torch.eye(channels).repeat(1, 2) / 2)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Give `(b t/2 h w c)` for `(b t h w c)`; `1 + t/2` for the `1 + t` at the start of a clip."""
        if memory.is_fresh:
            frames = torch.cat((frames[:, :1], frames), dim=1)
        pairs = frames.unflatten(1, (-1, 2)).movedim(2, -2).flatten(-2)
        return super().forward(pairs)


class DoubledTime(nn.Linear):
    """Two frames for one; of the first of a clip, the second alone."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 2 * channels)
        self.weight.data.copy_(torch.eye(channels).repeat(2, 1))

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Give `(b 2t h w c)` for `(b t h w c)`; `1 + 2t` for the `1 + t` at the start of a clip."""
        pairs = super().forward(frames).unflatten(-1, (2, -1))
        frames = pairs.movedim(-2, 2).flatten(1, 2)
        return frames[:, 1:] if memory.is_fresh else frames


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
