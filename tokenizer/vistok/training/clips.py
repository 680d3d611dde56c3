"""Random clips, cut from real ones or made of photos; decided by a seed and an index alone, as in `data`."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vistok.media.clips.folder import ClipFolder
from vistok.media.sources import PictureSource
from vistok.training.config import DataConfig
from vistok.training.data import Cut, first_readable
from vistok.training.moving import moving_clip


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
        count = self.config.frames
        frames = first_readable(
            lambda: clips.frames(int(random.integers(len(clips))), random.random(), count)
        )
        height, width = frames[0].shape[:2]
        cut = Cut.random((width, height), self.config, random)
        shown = [cut.of(Image.fromarray(frame)) for frame in frames]
        # A clip that is shorter stands still at its end.
        return np.stack(shown + [shown[-1]] * (count - len(shown)))

    def _made(self, random: np.random.Generator) -> np.ndarray:
        config, photos = self.config, self.photos

        def next_photo() -> Image.Image:
            pixels = first_readable(lambda: photos.picture(int(random.integers(len(photos)))))
            return Image.fromarray(pixels)

        return moving_clip(next_photo, config.frames, config.crop, config.smallest_scale, random)
