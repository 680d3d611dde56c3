"""Which tokenizers are served, and where they run."""

import torch

from vistok.bundled import names as bundled_names
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.settings import Settings


def load_tokenizers(settings: Settings, device: str) -> dict[str, VisualTokenizer]:
    """Load what the settings name on a device; without names, all bundled tokenizers."""
    device = _present(device)
    loaded: dict[str, VisualTokenizer] = {}
    for source in settings.tokenizers or bundled_names():
        tokenizer = VisualTokenizer.from_pretrained(source, device=device)
        if tokenizer.name in loaded:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"{source} is the second tokenizer named {tokenizer.name!r}",
            )
        loaded[tokenizer.name] = tokenizer
    if not loaded:
        raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, "no tokenizer is bundled: name a folder")
    return loaded


def _present(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{device} was asked for, but torch sees none")
    return device
