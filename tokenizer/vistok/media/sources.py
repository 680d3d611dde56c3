"""The pictures of a folder or a tar file, by number; nothing is unpacked or held open."""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from vistok.media.image import read_image
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class _Entry:
    name: str
    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class PictureSource:
    """Named encoded pictures in a fixed order (sorted by name)."""

    entries: tuple[_Entry, ...]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """List the pictures below a folder, or in an uncompressed tar file."""
        path = Path(path)
        if path.is_dir():
            entries = [_Entry(str(p.relative_to(path)), p, 0, p.stat().st_size) for p in path.rglob("*")]
        else:
            entries = _tar_entries(path)
        pictures = sorted((e for e in entries if _is_picture(e.name)), key=lambda entry: entry.name)
        if not pictures:
            raise VistokError(
                ErrorCode.INVALID_REQUEST, f"expected a folder or tar with pictures, found none in {path}"
            )
        return cls(tuple(pictures))

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """Give the picture's path inside its folder or tar."""
        return self.entries[index].name

    def picture(self, index: int) -> np.ndarray:
        """Decode one picture to uint8 `(h w 3)`; errors as in `read_image`, with the picture's name."""
        entry = self.entries[index]
        with entry.path.open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        try:
            return read_image(data, Limits())
        except VistokError as error:
            raise VistokError(error.code, f"{entry.name}: {error.detail}") from None


def _tar_entries(path: Path) -> list[_Entry]:
    try:
        with tarfile.open(path, "r:") as archive:
            return [_Entry(m.name, path, m.offset_data, m.size) for m in archive if m.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a folder or an uncompressed tar, got {path}: {error}"
        ) from None


def _is_picture(name: str) -> bool:
    base = Path(name)
    return base.suffix.lower() in _SUFFIXES and not base.name.startswith(".")
