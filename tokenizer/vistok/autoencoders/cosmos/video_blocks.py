"""What Cosmos's video networks are made of (NVIDIA, arXiv:2501.03575): space and time in turn.

Frames are `(b t c h w)`. What mixes pixels sees one frame, what mixes frames sees one position and nothing
later; between the pieces of a clip stands a `Memory`. Normalization knows its own frame alone.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.memory import Memory
from vistok.autoencoders.vqgan.blocks import convolution

_TAPS = 3
_EPSILON = 1e-6


def one_by_one(module: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """Do what is for pictures `(b c h w)` to each frame of `(b t c h w)`."""
    return module(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


def normalization(channels: int) -> nn.GroupNorm:
    """Normalize a picture by the mean and the variance of all that is in it."""
    return nn.GroupNorm(1, channels, eps=_EPSILON)


class TimeConvolution(nn.Conv2d):
    """A convolution over a frame and the two before it, at each position by itself.

    Its channels in are those of the earliest frame, then those of the next, then those of the last.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(_TAPS * channels, channels, kernel_size=1)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Keep the shape `(b t c h w)`."""
        return self.over(memory.join(frames, _TAPS - 1))

    def over(self, joined: Tensor, stride: int = 1) -> Tensor:
        """Give `(b t c h w)` for the windows, every `stride`th, of `(b 3+stride*(t-1) c h w)`."""
        last = joined.shape[1] - _TAPS + 1
        windows = [joined[:, tap : tap + last : stride] for tap in range(_TAPS)]
        return one_by_one(super().forward, torch.cat(windows, dim=2))


class Convolution(nn.Module):
    """A convolution of three by three pixels, then one of three frames."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.space = convolution(channels_in, channels_out)
        self.time = TimeConvolution(channels_out)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Give `(b t channels_out h w)`."""
        return self.time(one_by_one(self.space, frames), memory)


class ResidualBlock(nn.Module):
    """`(b t channels_in h w)` to `(b t channels_out h w)`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = normalization(channels_in)
        self.conv1 = Convolution(channels_in, channels_out)
        self.norm2 = normalization(channels_out)
        self.conv2 = Convolution(channels_out, channels_out)
        self.nin_shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.nin_shortcut = convolution(channels_in, channels_out, kernel=1)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Add what two convolutions find."""
        result = self.conv1(functional.silu(one_by_one(self.norm1, frames)), memory)
        result = self.conv2(functional.silu(one_by_one(self.norm2, result)), memory)
        return one_by_one(self.nin_shortcut, frames) + result


class _Attention(nn.Module):
    """Attention with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalization(channels)
        self.q, self.k, self.v, self.proj_out = (convolution(channels, channels, kernel=1) for _ in range(4))


class SpaceAttention(_Attention):
    """Attention over all positions of a frame."""

    def forward(self, frames: Tensor) -> Tensor:
        """Keep the shape `(b t c h w)`."""
        pictures = frames.flatten(0, 1)
        normalized = self.norm(pictures)
        query, key, value = (layer(normalized).flatten(2).mT for layer in (self.q, self.k, self.v))
        found = functional.scaled_dot_product_attention(query, key, value)
        return frames + self.proj_out(found.mT.reshape(pictures.shape)).view_as(frames)


class TimeAttention(_Attention):
    """Attention of each position over what stood there in this frame and in all frames before it.

    So it remembers the whole clip: of each frame, a key and a value for each position.
    """

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Keep the shape `(b t c h w)`."""
        normalized = one_by_one(self.norm, frames)
        query, key, value = (one_by_one(layer, normalized) for layer in (self.q, self.k, self.v))
        key, value = memory.join_all(torch.cat((key, value), dim=2)).chunk(2, dim=2)
        query, key, value = (part.permute(0, 3, 4, 1, 2) for part in (query, key, value))  # b h w t c
        count, all_frames = query.shape[-2], key.shape[-2]
        is_past = torch.ones(count, all_frames, dtype=torch.bool, device=frames.device)
        found = functional.scaled_dot_product_attention(
            query.flatten(0, 2),
            key.flatten(0, 2),
            value.flatten(0, 2),
            attn_mask=is_past.tril(all_frames - count),
        )
        found = found.unflatten(0, query.shape[:3]).permute(0, 3, 4, 1, 2)
        return frames + one_by_one(self.proj_out, found)


class Attention(nn.Module):
    """Attention over space, then over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.space, self.time = SpaceAttention(channels), TimeAttention(channels)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """Keep the shape `(b t c h w)`."""
        return self.time(self.space(frames), memory)
