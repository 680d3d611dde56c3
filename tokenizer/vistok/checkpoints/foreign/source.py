"""What somebody has published: files of tensors, and the configs that lie beside them."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from vistok.checkpoints.foreign.archive import ENDINGS, Tree, read, tensors
from vistok_protocol.errors import ErrorCode, VistokError

# The parts of a training checkpoint that may hold the weights, the first that is there wins.
_PARTS = ("state_dict", "model", "ema")
# A file that is larger is data, not a config.
_LARGEST_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file or a folder, looked at; weights are read when they are asked for.

    Attributes:
        path: as it was given.
        files: those that hold weights.
        configs: what the JSON and YAML files say, by their names.
    """

    path: Path
    files: tuple[Path, ...]
    configs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Source":
        """Look at a file of weights, with the configs of its folder, or at all in a folder."""
        folder = path if path.is_dir() else path.parent
        inside = sorted(folder.iterdir())
        files = [path] if path.is_file() else [file for file in inside if file.suffix in ENDINGS]
        if not files:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"expected a checkpoint ({', '.join(ENDINGS)}) in {path}, found none",
            )
        return cls(path, tuple(files), dict(_configs(inside)))

    @cached_property
    def trees(self) -> dict[str, Tree]:
        """What the files hold, by their names."""
        return {file.name: read(file) for file in self.files}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights of all files together; of a training checkpoint, of its model."""
        found: dict[str, Tensor] = {}
        for tree in self.trees.values():
            part = next((tree[name] for name in _PARTS if isinstance(tree.get(name), dict)), tree)
            found |= tensors(part)
        return found

    def says(self, key: str) -> Any:
        """Give the value of a key, wherever it stands in the configs; None if nowhere."""
        return next((value for config in self.configs.values() for value in _values(config, key)), None)

    def mentions(self, word: str) -> bool:
        """Tell whether a config holds a word."""
        return any(word in json.dumps(config, default=str) for config in self.configs.values())


def _configs(files: list[Path]) -> Iterator[tuple[str, Any]]:
    """Read what is JSON or YAML; what is not readable as such is no config."""
    for file in files:
        if file.suffix in _READERS and file.stat().st_size <= _LARGEST_CONFIG_BYTES:
            with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
                yield file.name, _READERS[file.suffix](file.read_text())


class _PlainLoader(yaml.SafeLoader):
    """Reads no references: a few lines of them can stand for more than there is memory for."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("a reference")
        return super().compose_node(parent, index)


def _from_yaml(text: str) -> Any:
    return yaml.load(text, _PlainLoader)


_READERS: dict[str, Callable[[str], Any]] = {".json": json.loads, ".yaml": _from_yaml, ".yml": _from_yaml}


def _values(config: Any, key: str) -> list[Any]:
    if isinstance(config, dict):
        here = [config[key]] if key in config else []
        return here + [value for part in config.values() for value in _values(part, key)]
    if isinstance(config, list):
        return [value for part in config for value in _values(part, key)]
    return []
