"""What a video tokenizer does to clips, frame by frame, however long they are."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image

from vistok.evaluation.psnr import psnr
from vistok.evaluation.sheets import stack, strip
from vistok.evaluation.ssim import ssim
from vistok.grid_rules import crop
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit, prepare
from vistok.media.pixels import to_model, to_uint8
from vistok.quantizers.usage import CodebookUsage
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.tokens import PixelSize

# Frames whose means are compared: what is lost over time shows between the first and the last of a clip.
_ENDS = 16
_SHOWN = 6
_SHOWN_WIDTH = 240
_GAP = 4

Pair = tuple[np.ndarray, np.ndarray]
"""A frame and its round trip, both uint8 `(h w 3)`."""


@dataclass
class ClipResult:
    """One clip's round trip: figures of each frame, and some frames to look at.

    Attributes:
        psnr: of each frame, in dB.
        ssim: of each frame.
        shown: frames evenly spaced over what has come, at least six where there are so many.
    """

    name: str
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    shown: list[Pair] = field(default_factory=list)
    _every: int = 1

    @property
    def first_psnr(self) -> float:
        """The mean over the first 16 frames."""
        return fmean(self.psnr[:_ENDS])

    @property
    def last_psnr(self) -> float:
        """The mean over the last 16 frames."""
        return fmean(self.psnr[-_ENDS:])

    def add(self, original: np.ndarray, reconstruction: np.ndarray) -> None:
        """Measure a frame, uint8 `(h w 3)` twice."""
        if len(self.psnr) % self._every == 0:
            self.shown.append((original, reconstruction))
        if len(self.shown) == 2 * _SHOWN:
            self.shown, self._every = self.shown[::2], 2 * self._every
        self.psnr.append(psnr(original, reconstruction))
        self.ssim.append(ssim(to_model(original[None]), to_model(reconstruction[None])).item())


def measure_clip(tokenizer: VisualTokenizer, path: Path, usage: CodebookUsage) -> ClipResult:
    """Take a clip through one round trip at its own size, counting its ids into `usage`."""
    result = ClipResult(path.name)
    with open_clip(path, Selection(), ClipLimits()) as clip:
        for original, reconstruction in _round_trip(tokenizer, clip.frames, usage):
            result.add(original, reconstruction)
    return result


def _round_trip(
    tokenizer: VisualTokenizer, frames: Iterator[np.ndarray], usage: CodebookUsage
) -> Iterator[Pair]:
    encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
    waiting: deque[np.ndarray] = deque()

    def shown(ids: torch.Tensor) -> Iterator[Pair]:
        if ids.shape[1]:
            usage.add(ids)
            for frame in to_uint8(decoder.push(ids)[0].movedim(1, 0))[: len(waiting)]:
                original = waiting.popleft()
                yield original, crop(frame, PixelSize(*original.shape[:2]))

    for frame in frames:
        waiting.append(frame)
        pixels = prepare(frame, Fit(), tokenizer.factor).pixels
        yield from shown(encoder.push(to_model(pixels[None]).unsqueeze(2)))
    yield from shown(encoder.finish())


def contact_sheet(results: list[ClipResult]) -> Image.Image:
    """Draw six frames of each clip, and their reconstructions below them."""
    return stack([_strip([pair[half] for pair in one.shown]) for one in results for half in (0, 1)], _GAP)


def _strip(frames: list[np.ndarray]) -> Image.Image:
    chosen = [frames[round(place)] for place in np.linspace(0, len(frames) - 1, min(_SHOWN, len(frames)))]
    return strip(chosen, _SHOWN_WIDTH / chosen[0].shape[1], _GAP)
