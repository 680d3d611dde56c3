"""Tokenizers on the Hugging Face hub: `hf:org/name[@revision][/path]` to a folder or file of its cache.

The hub's own settings hold: where its cache is, tokens, `HF_HUB_OFFLINE`, `HF_ENDPOINT`.
"""

import re
from pathlib import Path, PurePosixPath

from vistok.checkpoints.foreign.archive import ENDINGS
from vistok_protocol.errors import ErrorCode, VistokError

PREFIX = "hf:"

_PART = r"[\w-][\w.-]*"
_ADDRESS = re.compile(rf"hf:({_PART}/{_PART})(?:@({_PART}))?(?:/({_PART}(?:/{_PART})*))?")
_CONFIGS = ("*.json", "*.yaml", "*.yml")
_WANTED = [*(f"*{ending}" for ending in ENDINGS), *_CONFIGS]


def fetched(address: str) -> Path:
    """Give the path of what is there, fetched if it is not in the cache: weights and configs alone.

    Raises INVALID_REQUEST for what is no such address, or without `huggingface_hub`; TOKENIZER_NOT_FOUND when
    it cannot be had.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise _wrong(f"expected hf:org/name[@revision][/path], got {address[:200]!r}")
    repository, revision, path = found.groups()
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError:
        raise _wrong(f"{address} needs huggingface_hub: pip install 'vistok[hub]'") from None
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=_patterns(path)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        why = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, f"{address} cannot be had: {why}") from None
    if not (folder / (path or "")).exists():
        raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, f"{address}: {repository} has no {path}")
    return folder / (path or "")


def name_of(address: str) -> str:
    """Give what stands last in an address, without a revision."""
    return address.removeprefix(PREFIX).rpartition("/")[2].partition("@")[0]


def _patterns(path: str | None) -> list[str]:
    """Say what to fetch: all weights and configs, those of a folder, or one file and the configs beside."""
    if path is None:
        return _WANTED
    beside = PurePosixPath(path).parent
    return [path, *(f"{path}/{one}" for one in _WANTED), *(str(beside / one) for one in _CONFIGS)]


def _wrong(what: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_REQUEST, what)
