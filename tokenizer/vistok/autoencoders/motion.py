"""The pictures between two of a clip, by the way that things move from one to the other.

The motion is found from coarse to fine, from a 32nd to a quarter of the resolution: where both
pictures, moved towards each other by what is known so far, match better elsewhere, it is corrected (cost
volumes and warping as in PWC-Net, Sun et al., arXiv:1709.02371). Then each picture in between is both of them
moved to its moment and blended, as in Super SloMo (Jiang et al., arXiv:1712.00080), and corrected.

A motion `(b 2 h w)` says how far, to the right and down, things that are at a place at the middle moment move
from one picture to the other, in positions of the resolution that it is given at.
"""

import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.autoencoders.blocks import COLOURS, PATCH, Pointwise, ResidualBlock, convolution

_LEVELS = 4
_RADIUS = 3
"""Of the window in which matches are looked for, in positions of a level."""
_WINDOW = (2 * _RADIUS + 1) ** 2
_BLOCKS = 2
_XY = 2


class Between(nn.Module):
    """Two pictures `(b 3 h w)` to the `count` ones evenly spaced between them, `(b count 3 h w)`.

    Height and width must be multiples of 4.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self._count = count
        self.see = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            convolution(COLOURS * PATCH**2, channels),
            nn.SiLU(),
            convolution(channels, channels),
        )
        self.levels = nn.ModuleList(_Level(channels) for _ in range(_LEVELS))
        # For each picture: corrections of the motion from both, of their shares, and of colours.
        self.correct = _without_effect(Pointwise(channels, count * (2 * _XY + 1 + COLOURS) * PATCH**2))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Give the pictures between."""
        motion, hidden = self._motion(self.see(before), self.see(after))
        motion = _enlarged(motion, before.shape[-2:])
        corrections = functional.pixel_shuffle(self.correct(hidden), PATCH).unflatten(1, (self._count, -1))
        frames = [
            _at_moment((1 + place) / (1 + self._count), before, after, motion, corrections[:, place])
            for place in range(self._count)
        ]
        return torch.stack(frames, dim=1)

    def _motion(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Give the motion, and the last level's features, at a quarter of the resolution."""
        pyramid = [(before, after)]
        for _ in range(_LEVELS - 1):
            before, after = _halved(before), _halved(after)
            pyramid.append((before, after))
        motion, hidden = before.new_zeros(len(before), _XY, *before.shape[-2:]), torch.zeros_like(before)
        for level, (before, after) in zip(self.levels, reversed(pyramid), strict=True):
            size = before.shape[-2:]
            hidden = functional.interpolate(hidden, size, mode="bilinear")
            motion, hidden = level(before, after, _enlarged(motion, size), hidden)
        return motion, hidden


class _Level(nn.Module):
    """One step of finding the motion, at one resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.compare = convolution(3 * channels + _WINDOW + _XY, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(_BLOCKS)))
        self.correct = _without_effect(Pointwise(channels, _XY))

    def forward(self, before: Tensor, after: Tensor, motion: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Correct a motion `(b 2 h w)` by features `(b c h w)` of both pictures and of the level before."""
        before, after = _moved(before, -motion / 2), _moved(after, motion / 2)
        compared = torch.cat((before, after, _matches(before, after), motion, hidden), dim=1)
        hidden = self.blocks(functional.silu(self.compare(compared)))
        return motion + self.correct(hidden), hidden


def _without_effect(layer: Pointwise) -> Pointwise:
    """Have it give zeros until it is trained: a fresh network only blends."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _at_moment(moment: float, before: Tensor, after: Tensor, motion: Tensor, corrections: Tensor) -> Tensor:
    """Give the picture `(b 3 h w)` at a moment, 0 being `before` and 1 `after`."""
    from_before, from_after, share, colours = corrections.split((_XY, _XY, 1, COLOURS), dim=1)
    before = _moved(before, from_before - moment * motion)
    after = _moved(after, from_after + (1 - moment) * motion)
    share = torch.sigmoid(share + math.log(moment / (1 - moment)))
    return torch.lerp(before, after, share) + colours


def _matches(before: Tensor, after: Tensor) -> Tensor:
    """Compare each position `(b c h w)` with a window of the other: `(b window h w)`, 1 where alike."""
    before, after = (functional.normalize(features, dim=1) for features in (before, after))
    rows, columns = after.shape[-2:]
    padded = functional.pad(after, (_RADIUS,) * 4)
    offsets = [(y, x) for y in range(2 * _RADIUS + 1) for x in range(2 * _RADIUS + 1)]
    found = [(before * padded[..., y : y + rows, x : x + columns]).sum(dim=1) for y, x in offsets]
    return torch.stack(found, dim=1)


def _moved(picture: Tensor, offset: Tensor) -> Tensor:
    """Give what a picture `(b c h w)` shows at `offset` `(b 2 h w)` from each place; its edges go on."""
    rows, columns = picture.shape[-2:]
    x = torch.arange(columns, device=picture.device, dtype=picture.dtype) + offset[:, 0]
    y = torch.arange(rows, device=picture.device, dtype=picture.dtype)[:, None] + offset[:, 1]
    places = torch.stack((_from_minus_one(x, columns), _from_minus_one(y, rows)), dim=-1)
    return functional.grid_sample(picture, places, padding_mode="border", align_corners=True)


def _from_minus_one(places: Tensor, count: int) -> Tensor:
    """Express 0 to `count - 1` as -1 to 1."""
    return places * (2 / max(count - 1, 1)) - 1


def _enlarged(motion: Tensor, size: torch.Size) -> Tensor:
    """Express a motion in the positions of a finer resolution."""
    scale = motion.new_tensor([size[1] / motion.shape[3], size[0] / motion.shape[2]])
    return functional.interpolate(motion, size, mode="bilinear") * scale[:, None, None]


def _halved(features: Tensor) -> Tensor:
    return functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
