"""The clips of a folder, by number; nothing is held open or decoded in advance."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok.media.endings import FILMS
from vistok_protocol.errors import ErrorCode, VistokError

_SUFFIXES = FILMS | {".gif"}


@dataclass(frozen=True)
class ClipFolder:
    """Clips in a fixed order (sorted by name)."""

    paths: tuple[Path, ...]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """List the clips below a folder, or take a single one."""
        path = Path(path)
        paths = sorted(p for p in ([path] if path.is_file() else path.rglob("*")) if _is_clip(p))
        if not paths:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"expected a folder of clips, found none in {path}")
        return cls(tuple(paths))

    def __len__(self) -> int:
        return len(self.paths)

    def frames(self, index: int, where: float, count: int) -> np.ndarray:
        """Decode `count` frames, or what there are, uint8 `(t h w 3)`.

        `where` from 0 to 1 says at which of the places where so many fit; errors as in `open_clip`.
        """
        path = self.paths[index]
        seconds, fps = _length(path)
        latest = max(Fraction(0), (seconds or Fraction(0)) - count / fps)
        selection = Selection(start=Fraction(where) * latest, max_frames=count)
        with open_clip(path, selection, ClipLimits()) as clip:
            return np.stack(list(clip.frames))


@lru_cache(maxsize=10_000)
def _length(path: Path) -> tuple[Fraction | None, Fraction]:
    """Give a clip's seconds, if its header knows them, and its rate."""
    with open_clip(path, Selection(max_frames=1), ClipLimits()) as clip:
        return clip.seconds, clip.fps


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
