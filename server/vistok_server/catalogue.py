"""Which tokenizers are served, and where they run."""

import torch

from vistok.bundled import names as bundled_names
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.settings import Device, Settings


def load_tokenizers(settings: Settings) -> dict[str, VisualTokenizer]:
    """Load what the settings name; without names, all bundled tokenizers."""
    device = _device(settings.device)
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


def _device(wanted: Device) -> str:
    if wanted is Device.CUDA and not torch.cuda.is_available():
        raise VistokError(ErrorCode.INVALID_REQUEST, "the device cuda was asked for, but torch sees none")
    if wanted is Device.AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted.value
