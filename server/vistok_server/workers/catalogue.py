"""The tokenizers of one worker: which, where they run, and how they change."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo


class Catalogue:
    """Tokenizers on one device, by what each was loaded from, with or without NAME= in front."""

    def __init__(self, device: str, batch_invariant: bool) -> None:
        self._device = _present(device)
        self._batch_invariant = batch_invariant
        self._by_source: dict[str, VisualTokenizer] = {}

    def load(self, sources: Sequence[str]) -> None:
        """Have the tokenizers of these sources and no others; those that are here are not loaded again.

        Raises VistokError when one cannot be had, or two have one name; then all is as before.
        """
        loaded: dict[str, VisualTokenizer] = {}
        for source in sources:
            tokenizer = self._by_source.get(source) or self._loaded(source)
            if tokenizer.name in (other.name for other in loaded.values()):
                raise VistokError(
                    ErrorCode.INVALID_REQUEST, f"{source} is the second tokenizer named {tokenizer.name!r}"
                )
            loaded[source] = tokenizer
        if not loaded:
            raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, "no tokenizer is bundled: name a folder")
        self._by_source = loaded

    def by_name(self) -> Mapping[str, VisualTokenizer]:
        """Give all by the names under which they are served."""
        return {tokenizer.name: tokenizer for tokenizer in self._by_source.values()}

    def describe(self) -> dict[str, TokenizerInfo]:
        """Describe all by their sources."""
        return {source: tokenizer.describe() for source, tokenizer in self._by_source.items()}

    def _loaded(self, source: str) -> VisualTokenizer:
        name, path = _parts(source)
        tokenizer = VisualTokenizer.from_pretrained(path, device=self._device)
        if name:
            tokenizer.rename(name)
        tokenizer.batch_invariant = self._batch_invariant
        return tokenizer


def _parts(source: str) -> tuple[str, str]:
    """Take NAME=SOURCE apart; the name is empty where there is none, or what is before `=` is of the path."""
    name, equals, path = source.partition("=")
    return (name, path) if equals and "/" not in name and not Path(source).exists() else ("", source)


def _present(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{device} was asked for, but torch sees none")
    return device
