"""Random clips, cut from real ones or made of photos; decided by a seed and an index alone, as in `data`."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vistok.media.clips.folder import ClipFolder
from vistok.media.sources import PictureSource
from vistok.training.config import DataConfig
from vistok.training.data import Cut
from vistok.training.moving import moving_clip
from vistok_protocol.errors import VistokError

logger = logging.getLogger(__name__)

_TRIES = 10


@dataclass(frozen=True)
class RandomClips(Dataset[Tensor]):
    """Clips `(3 frames crop crop)` uint8 by index.

    Attributes:
        photos: what clips are made of.
        clips: real ones, if there are any: the share of them that the config says.
    """

    photos: PictureSource
    clips: ClipFolder | None
    config: DataConfig
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        random = np.random.default_rng((self.seed, index))
        real = self.clips is not None and random.random() < self.config.real_clips
        frames = self._cut(self.clips, random) if real and self.clips else self._made(random)
        return torch.from_numpy(frames).movedim(-1, 0)

    def _cut(self, clips: ClipFolder, random: np.random.Generator) -> np.ndarray:
        for _ in range(_TRIES):
            try:
                frames = clips.frames(int(random.integers(len(clips))), random.random(), self.config.frames)
            except VistokError as error:
                logger.warning("left out of training: %s", error)
                continue
            height, width = frames[0].shape[:2]
            cut = Cut.random((width, height), self.config, random)
            shown = [cut.of(Image.fromarray(frame)) for frame in frames]
            # A clip that is shorter stands still at its end.
            return np.stack(shown + [shown[-1]] * (self.config.frames - len(shown)))
        raise RuntimeError(f"{_TRIES} clips in a row cannot be read")

    def _made(self, random: np.random.Generator) -> np.ndarray:
        config = self.config
        return moving_clip(
            lambda: self._photo(random), config.frames, config.crop, config.smallest_scale, random
        )

    def _photo(self, random: np.random.Generator) -> Image.Image:
        for _ in range(_TRIES):
            try:
                return Image.fromarray(self.photos.picture(int(random.integers(len(self.photos)))))
            except VistokError as error:
                logger.warning("left out of training: %s", error)
        raise RuntimeError(f"{_TRIES} pictures in a row cannot be read")
