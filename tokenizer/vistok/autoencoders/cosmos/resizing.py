"""How Cosmos's video networks (NVIDIA, arXiv:2501.03575) change the size of frames, and their number.

Each change is the plain one, by means or by copies, and what a convolution adds to it.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.cosmos.video_blocks import TimeConvolution, one_by_one
from vistok.autoencoders.memory import Memory
from vistok.autoencoders.vqgan.blocks import convolution


class HalvedSize(nn.Conv2d):
    """`(b c h w)` to `(b c h/2 w/2)`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, stride=2)

    def forward(self, pictures: Tensor) -> Tensor:
        """Add to the means of two by two pixels."""
        return functional.avg_pool2d(pictures, 2) + super().forward(functional.pad(pictures, (0, 1, 0, 1)))


class DoubledSize(nn.Conv2d):
    """`(b c h w)` to `(b c 2h 2w)`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Add to copies of the pixels."""
        copies = functional.interpolate(pictures, scale_factor=2, mode="nearest")
        return copies + super().forward(copies)


class HalvedTime(TimeConvolution):
    """One frame for two; the first frame of a clip is paired with itself."""

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Give `(b t/2 c h w)` for `(b t c h w)`; `1 + t/2` for the `1 + t` at the start of a clip."""
        if memory.is_fresh:
            frames = torch.cat((frames[:, :1], frames), dim=1)
        return frames.unflatten(1, (-1, 2)).mean(dim=2) + self.over(memory.join(frames, 1), stride=2)


class DoubledTime(TimeConvolution):
    """Two frames for one; the first frame of a clip stays alone."""

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Give `(b 2t c h w)` for `(b t c h w)`; `1 + 2t` for the `1 + t` at the start of a clip."""
        copies = frames.repeat_interleave(2, dim=1)[:, int(memory.is_fresh) :]
        return copies + super().forward(copies, memory)


class Shrink(nn.Module):
    """Half the size of frames, then half their number, or one of both."""

    def __init__(self, channels: int, space: bool, time: bool) -> None:
        super().__init__()
        self.space = HalvedSize(channels) if space else None
        self.time = HalvedTime(channels) if time else None
        self.out = convolution(channels, channels, kernel=1)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Give frames `(b t c h w)`, with fewer of what was asked for."""
        if self.space is not None:
            frames = one_by_one(self.space, frames)
        if self.time is not None:
            frames = self.time(frames, memory)
        return one_by_one(self.out, frames)


class Grow(nn.Module):
    """Twice as many frames, then twice their size, or one of both."""

    def __init__(self, channels: int, space: bool, time: bool) -> None:
        super().__init__()
        self.time = DoubledTime(channels) if time else None
        self.space = DoubledSize(channels) if space else None
        self.out = convolution(channels, channels, kernel=1)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Give frames `(b t c h w)`, with more of what was asked for."""
        if self.time is not None:
            frames = self.time(frames, memory)
        if self.space is not None:
            frames = one_by_one(self.space, frames)
        return one_by_one(self.out, frames)
