"""Pictures and video into token grids and back."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vistok.tokenizer import VisualTokenizer

__all__ = ["VisualTokenizer"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the modules without torch (media, the command line's help) stay light.
    if name == "VisualTokenizer":
        from vistok.tokenizer import VisualTokenizer

        return VisualTokenizer
    raise AttributeError(f"module 'vistok' has no attribute {name!r}")
