"""The tokenizers that come with the package."""

from pathlib import Path

from vistok.media.endings import FILMS

_FOLDER = Path(__file__).parent / "pretrained"


def names() -> list[str]:
    """Name the bundled tokenizers, sorted."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.json"))


def folder(name: str) -> Path:
    """Give the folder of a bundled tokenizer."""
    return _FOLDER / name


def usual_for(file: Path) -> str:
    """Name the tokenizer for a file where none is asked for, by the file's ending."""
    return "video-fsq-t4f8" if file.suffix.lower() in FILMS else "image-fsq-f8"
