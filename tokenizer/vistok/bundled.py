"""The tokenizers that come with the package."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "pretrained"


def names() -> list[str]:
    """Name the bundled tokenizers, sorted."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.json"))


def folder(name: str) -> Path:
    """Give the folder of a bundled tokenizer."""
    return _FOLDER / name
