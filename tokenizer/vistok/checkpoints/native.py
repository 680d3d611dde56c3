"""Our own folder format: `config.json` and `model.safetensors`, and nothing that could run."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from vistok import bundled
from vistok.config import TokenizerConfig, parse
from vistok_protocol.errors import ErrorCode, VistokError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def load(name_or_folder: str | Path) -> tuple[TokenizerConfig, dict[str, Tensor]]:
    """Read config and weights (floating ones as float32) of a bundled tokenizer or a folder."""
    folder = locate(name_or_folder)
    config = load_config(folder)
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (SafetensorError, OSError) as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{folder / WEIGHTS_FILE} is not a readable safetensors file: {error}"
        ) from None
    return config, {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}


def load_config(name_or_folder: str | Path) -> TokenizerConfig:
    """Read the config alone."""
    path = locate(name_or_folder) / CONFIG_FILE
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


def locate(name_or_folder: str | Path) -> Path:
    """Find the folder of a bundled name or a path; a folder wins over a name."""
    path = Path(name_or_folder)
    if (path / CONFIG_FILE).is_file():
        return path
    if str(name_or_folder) in bundled.names():
        return bundled.folder(str(name_or_folder))
    raise VistokError(
        ErrorCode.TOKENIZER_NOT_FOUND,
        f"expected a bundled tokenizer ({', '.join(bundled.names())}) or a folder with {CONFIG_FILE}, "
        f"got {str(name_or_folder)!r}",
    )
