"""Random crops of the pictures in a folder or tar, decided by a seed and an index alone.

The sample with index `i` is the same in every run and process, which makes resuming exact: a run goes on
at the index where it stopped.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache

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
        return torch.from_numpy(self._cut(picture, random)).movedim(-1, 0)

    def _readable(self, epoch: int, position: int) -> np.ndarray:
        """Decode the picture at a position of an epoch; after one that cannot be read comes the next."""
        order = _order(self.seed, epoch, len(self.source))
        for place in range(position, position + _TRIES):
            try:
                return self.source.picture(int(order[place % len(order)]))
            except VistokError as error:
                logger.warning("left out of training: %s", error)
        raise RuntimeError(f"{_TRIES} pictures in a row cannot be read")

    def _cut(self, picture: Image.Image, random: np.random.Generator) -> np.ndarray:
        """Shrink, crop and flip, reading no more of the picture than the crop needs."""
        crop = self.config.crop
        scale = random.uniform(self.config.smallest_scale, 1)
        # A picture smaller than the crop is enlarged to fit it.
        side = min(crop / scale, *picture.size)
        left, top = (random.uniform(0, length - side) for length in picture.size)
        if scale == 1 and side == crop:
            box = (round(left), round(top), round(left) + crop, round(top) + crop)
            cut = picture.crop(box)
        else:
            cut = picture.resize((crop, crop), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
        pixels = np.asarray(cut)
        return np.array(pixels[:, ::-1] if random.random() < 0.5 else pixels, order="C")
