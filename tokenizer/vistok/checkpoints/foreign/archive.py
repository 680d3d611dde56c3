"""Tensors out of files, and nothing else: no code of a file is imported or run.

Pickles are read by torch's restricted reader. Training leaves classes in them (call-backs, hyper-parameters),
for which that reader finds stand-ins that take everything and do nothing.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vistok.checkpoints.foreign import torch_script
from vistok_protocol.errors import ErrorCode, VistokError

Tree = dict[str, Any]
"""What a file holds: tensors by name, and more of the same under the names of its parts."""

SAFE, SCRIPT = ".safetensors", ".jit"
ENDINGS = (SAFE, SCRIPT, ".ckpt", ".pt", ".pth", ".bin")

_REFUSED_CLASS = re.compile(r"GLOBAL (\S+)")
# A file that names more classes than this one by one is no checkpoint.
_MOST_CLASSES = 200


class _StandIn:
    """Takes the place of whatever a pickle names."""

    def __new__(cls, *_: object, **__: object) -> "_StandIn":
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...

    def update(self, *_: object) -> None: ...

    def add(self, _: object) -> None: ...


def read(path: Path) -> Tree:
    """Read the tensors of a file; INVALID_REQUEST when it is no checkpoint, or one of code."""
    try:
        tree = _READERS.get(path.suffix, _unpickled)(path)
    except (SafetensorError, UnpicklingError, OSError, ValueError, RuntimeError, EOFError, KeyError) as error:
        raise _unreadable(path, str(error).strip().splitlines()[0][:200] if str(error) else "") from None
    if isinstance(tree, dict):
        return tree
    if isinstance(tree, _StandIn):
        raise _unreadable(
            path, "it is a pickled module, which only its own code can open: save its state_dict()"
        )
    raise _unreadable(path, f"it holds a {type(tree).__name__}")


def tensors(tree: Tree) -> dict[str, Tensor]:
    """Give the tensors of the topmost part."""
    return {
        name: value for name, value in tree.items() if isinstance(name, str) and isinstance(value, Tensor)
    }


def _unpickled(path: Path) -> Any:
    named = list(_named_classes(path))
    for _ in range(_MOST_CLASSES):
        # Each name gets a class of its own, since the reader knows them by their classes.
        stand_ins: list[Any] = [(type("StandIn", (_StandIn,), {}), name) for name in named]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which would tell whoever loads a file how pickles have changed
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except UnpicklingError as error:
                refused = _REFUSED_CLASS.search(str(error))
                if refused is None or refused[1] in named:
                    raise
                named.append(refused[1])
    raise UnpicklingError(f"it names more than {_MOST_CLASSES} classes")


def _named_classes(path: Path) -> Iterator[str]:
    """Name the classes that a file needs, as far as that can be told at once: not of the oldest format."""
    try:
        yield from torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return


_READERS: dict[str, Callable[[Path], Any]] = {SAFE: load_file, SCRIPT: torch_script.read}


def _unreadable(path: Path, why: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_REQUEST, f"{path} is not a readable checkpoint: {why}")
