"""Random crops of pictures, decided by a seed and an index alone.

The sample with index `i` is the same in every run and process, which makes resuming exact: a run goes on
at the index where it stopped.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vistok.media.sources import PictureSource
from vistok.training.config import DataConfig
from vistok_protocol.errors import VistokError

logger = logging.getLogger(__name__)

_TRIES = 10


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Shuffle an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


@dataclass(frozen=True)
class RandomCrops(Dataset[Tensor]):
    """Crops `(3 crop crop)` uint8 by index; index `i` lies in epoch `i // len(source)`."""

    source: PictureSource
    config: DataConfig
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        epoch, position = divmod(index, len(self.source))
        random = np.random.default_rng((self.seed, epoch, position))
        picture = Image.fromarray(self._readable(epoch, position))
        cut = Cut.random(picture.size, self.config, random)
        return torch.from_numpy(cut.of(picture)).movedim(-1, 0)

    def _readable(self, epoch: int, position: int) -> np.ndarray:
        """Decode the picture at a position of an epoch; after one that cannot be read comes the next."""
        order = _order(self.seed, epoch, len(self.source))
        places = itertools.count(position)
        return first_readable(lambda: self.source.picture(int(order[next(places) % len(order)])))


def first_readable(read: Callable[[], np.ndarray]) -> np.ndarray:
    """Call until something can be read, saying what cannot."""
    for _ in range(_TRIES):
        try:
            return read()
        except VistokError as error:
            logger.warning("left out of training: %s", error)
    raise RuntimeError(f"{_TRIES} in a row cannot be read")


@dataclass(frozen=True)
class Cut:
    """What is taken of pictures: a square of some side, brought to another, and mirrored or not."""

    left: float
    top: float
    side: float
    to_side: int
    mirrored: bool

    @classmethod
    def random(cls, size: tuple[int, int], config: DataConfig, random: np.random.Generator) -> Self:
        """Choose one for pictures of this width and height."""
        scale = random.uniform(config.smallest_scale, 1)
        # A picture smaller than the crop is enlarged to fit it.
        side = min(config.crop / scale, *size)
        left, top = (random.uniform(0, length - side) for length in size)
        return cls(left, top, side, config.crop, random.random() < 0.5)

    def of(self, picture: Image.Image) -> np.ndarray:
        """Give uint8 `(h w 3)`, reading no more of the picture than it needs."""
        if self.side == self.to_side:
            left, top = round(self.left), round(self.top)
            cut = picture.crop((left, top, left + self.to_side, top + self.to_side))
        else:
            box = (self.left, self.top, self.left + self.side, self.top + self.side)
            cut = picture.resize((self.to_side, self.to_side), Image.Resampling.LANCZOS, box)
        pixels = np.asarray(cut)
        return np.array(pixels[:, ::-1] if self.mirrored else pixels, order="C")
