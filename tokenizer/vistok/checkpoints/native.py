"""Our own folder format: `config.json` and `model.safetensors`, and nothing that could run.

Other formats are read by `foreign`.
"""

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from vistok import bundled
from vistok.checkpoints import hub
from vistok.checkpoints.foreign import families
from vistok.checkpoints.foreign.archive import ENDINGS
from vistok.config import TokenizerConfig, parse
from vistok_protocol.errors import ErrorCode, VistokError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_OUR_KEYS = {"format", "autoencoder", "quantizer"}


def load(source: str | Path) -> tuple[TokenizerConfig, dict[str, Tensor]]:
    """Read config and weights (floating ones as float32) of whatever `locate` finds."""
    path = locate(source)
    if is_native(path):
        config, weights = load_config(path), _load_weights(path / WEIGHTS_FILE)
    else:
        config, weights = families.load(path, _name_of(source))
    return config, {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}


def is_native(path: Path) -> bool:
    """Tell whether what was located is a folder of our format, also where its config is damaged."""
    config = path / CONFIG_FILE
    if not config.is_file():
        return False
    try:
        values = json.loads(config.read_text())
    except (OSError, ValueError, RecursionError):
        return True
    return not isinstance(values, dict) or not values.keys().isdisjoint(_OUR_KEYS)


def _load_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{path} is not a readable safetensors file: {error}"
        ) from None


def _name_of(source: str | Path) -> str:
    """Make a name of what a path or an address ends in."""
    last = hub.name_of(str(source)) if is_remote(source) else Path(source).absolute().name
    for ending in ENDINGS:
        last = last.removesuffix(ending)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:63] or "tokenizer"


def is_remote(source: str | Path) -> bool:
    """Tell an address on the hub from a path."""
    return isinstance(source, str) and source.startswith(hub.PREFIX)


def load_config(source: str | Path) -> TokenizerConfig:
    """Read the config alone."""
    path = locate(source) / CONFIG_FILE
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{path} is not readable JSON: {error}") from None
    return parse(TokenizerConfig, values, source=str(path))


def save(folder: str | Path, config: TokenizerConfig, weights: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Write both files; floating weights are stored as `dtype`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        name: (w.to(dtype) if w.is_floating_point() else w).contiguous().cpu() for name, w in weights.items()
    }
    # A plain write gives the file the usual permissions; safetensors itself would let only its owner read it.
    (folder / WEIGHTS_FILE).write_bytes(serialize(stored))
    save_config(folder, config)


def save_config(folder: str | Path, config: TokenizerConfig) -> None:
    """Write the config alone."""
    (Path(folder) / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n")


def locate(source: str | Path) -> Path:
    """Find a bundled name's folder, or a folder or file with weights; a folder of ours wins over a name.

    What is on the hub is fetched.
    """
    if is_remote(source):
        return hub.fetched(str(source))
    path = Path(source)
    if (path / CONFIG_FILE).is_file():
        return path
    if str(source) in bundled.names():
        return bundled.folder(str(source))
    if path.exists():
        return path
    raise VistokError(
        ErrorCode.TOKENIZER_NOT_FOUND,
        f"expected a bundled tokenizer ({', '.join(bundled.names())}), a folder or file with weights, "
        f"or hf:org/name, got {str(source)!r}",
    )
