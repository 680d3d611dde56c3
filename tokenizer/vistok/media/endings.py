"""What a file's name says about its format."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from vistok_protocol.errors import ErrorCode, VistokError

Format = TypeVar("Format", bound=str)

FILMS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts"))
"""Endings of what is always a clip; GIF and WebP may be pictures."""


def by_ending(path: Path, formats: Mapping[str, Format]) -> Format:
    """Give the format for which a file's name has the ending; INVALID_REQUEST for any other name."""
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a name ending in {', '.join(formats)}, got {path.name!r}"
        )
    return formats[suffix]
