"""Haar's wavelets, by which Cosmos tokenizers (NVIDIA, arXiv:2501.03575) make patches of pixels.

A step makes of two neighbours along an axis their mean and half of their difference. Along all axes, it
makes a channel for each choice of one of the two along each axis. Channels of one choice lie together, the
means along all axes first, and the choice for the first axis counts most. Further steps take all channels,
not just the means: after two of them the four pixels of a side have become channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Axes counted from the end, as channels have them: the choice along the first of them counts most.
OF_PICTURES = (-1, -2)
OF_CLIPS = (-3, -2, -1)


def to_channels(pixels: Tensor, patch: int, axes: Sequence[int]) -> Tensor:
    """`(b c ...)` to `(b c*patch**n ...)`, each of the `n` axes a `patch`th, a power of 2, as long."""
    for _ in range(_steps(patch)):
        for done, axis in enumerate(axes):
            first, second = pixels.unflatten(axis, (-1, 2)).unbind(axis)
            pixels = torch.stack(((first + second) / 2, (first - second) / 2), dim=1 + done)
        pixels = pixels.flatten(1, 1 + len(axes))
    return pixels


def to_pixels(channels: Tensor, patch: int, axes: Sequence[int]) -> Tensor:
    """Undo `to_channels`."""
    for _ in range(_steps(patch)):
        channels = channels.unflatten(1, (*[2] * len(axes), -1))
        for left, axis in reversed(list(enumerate(axes))):
            mean, difference = channels.unbind(1 + left)
            pairs = torch.stack((mean + difference, mean - difference), dim=axis)
            channels = pairs.flatten(axis - 1, axis)
    return channels


def _steps(patch: int) -> int:
    return patch.bit_length() - 1
