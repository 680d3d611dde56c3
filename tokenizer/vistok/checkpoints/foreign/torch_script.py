"""Tensors out of TorchScript archives (`.jit`), whose programs are not so much as looked at.

Such an archive is a zip file. One pickle in it describes a tree of modules, and each storage of numbers is an
entry of its own. The pickle is read in two steps, neither of which calls anything of torch or of the file:
first into inert records of what it names, then, of these, tensors are made. `torch.jit.load` would compile
the programs, and a version number in the archive changes what they mean.
"""

import pickle
import re
from collections.abc import Iterator
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor

_DESCRIPTION = re.compile(r"([^/]+)/data\.pkl")
_TENSOR = "torch._utils._rebuild_tensor_v2"
_MODULE = re.compile(r"__torch__(\..*)?")
# What the writer names beside modules: a tensor's storage and hooks, and lists among a module's values.
_WRITTEN = re.compile(r"torch\.\w+Storage|torch\.jit\._pickle\.\w+|collections\.OrderedDict")
_STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
# Deeper trees, or larger ones, are no networks.
_DEEPEST, _MOST_MODULES = 64, 100_000


class _Named:
    """What a pickle makes of a class or a function that it names: it keeps what came, and does nothing."""

    name: ClassVar[str]
    arguments: tuple[Any, ...]
    state: object = None

    def __new__(cls, *arguments: object) -> "_Named":
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Stored(NamedTuple):
    """Where a tensor's numbers lie: an entry of the archive, and what it holds."""

    entry: str
    dtype: torch.dtype


# In Python: the one in C reserves memory for as many objects as a file says it will have.
class _Reader(pickle._Unpickler):
    """Reads a pickle into `_Named` and `_Stored`."""

    def find_class(self, module: str, name: str) -> Any:
        """Give a class of its own for what is named, so that a file cannot change that of another."""
        full = f"{module}.{name}"
        if full == _TENSOR or _MODULE.fullmatch(full) or _WRITTEN.fullmatch(full):
            return type("Named", (_Named,), {"name": full})
        raise pickle.UnpicklingError(f"it names {full}, which is no part of a network")

    def persistent_load(self, pid: Any) -> _Stored:
        """Say where a storage lies; its device and size are the writer's."""
        kind, storage, entry, _, _ = pid
        if kind != "storage" or not isinstance(entry, str) or storage.name not in _STORAGES:
            raise pickle.UnpicklingError(f"it has a storage of {getattr(storage, 'name', kind)}")
        return _Stored(entry, _STORAGES[storage.name])


def read(path: Path) -> dict[str, Tensor]:
    """Give an archive's parameters and buffers by their dotted names; ValueError when it is damaged."""
    try:
        with ZipFile(path) as archive:
            return _read(archive)
    except OSError:
        raise
    except MemoryError:
        raise ValueError("it asks for more memory than there is") from None
    # A damaged pickle can trip over anything, and so can a damaged zip file.
    except Exception as error:
        raise ValueError(f"{error or type(error).__name__}") from error


def _read(archive: ZipFile) -> dict[str, Tensor]:
    roots = [found[1] for name in archive.namelist() if (found := _DESCRIPTION.fullmatch(name))]
    if len(roots) != 1:
        raise BadZipFile(f"expected one data.pkl, found {len(roots)}")
    if _entry(archive, f"{roots[0]}/byteorder", default=b"little") != b"little":
        raise BadZipFile("its numbers are not little-endian")
    tree = _Reader(BytesIO(_entry(archive, f"{roots[0]}/data.pkl"))).load()
    storages: dict[_Stored, Tensor] = {}
    tensors = {}
    for name, tensor in _tensors_of(tree):
        stored, offset, size, stride = tensor.arguments[:4]
        if stored not in storages:
            storages[stored] = _numbers(_entry(archive, f"{roots[0]}/data/{stored.entry}"), stored.dtype)
        # Strides of nothing would let a few bytes stand for more numbers than there is memory for.
        fits = all(isinstance(side, int) and side >= 0 for side in size)
        if not fits or prod(size) > storages[stored].numel():
            raise ValueError(f"expected {name} to be as large as what is stored of it, got {size}")
        tensors[name] = storages[stored].as_strided(size, stride, offset)
    return tensors


def _entry(archive: ZipFile, name: str, default: bytes | None = None) -> bytes:
    """Give an entry; as it is written it is not compressed, so that it is no larger than the file."""
    if default is not None and name not in archive.namelist():
        return default
    if archive.getinfo(name).compress_type != ZIP_STORED:
        raise BadZipFile(f"{name} is compressed")
    return archive.read(name)


def _numbers(raw: bytes, dtype: torch.dtype) -> Tensor:
    # Buffers of nothing are refused; tensors may own what they are made of.
    return torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _tensors_of(tree: object) -> Iterator[tuple[str, _Named]]:
    """Name the tensors of a tree of modules; a module that stands in several places has its first name."""
    waiting, seen = [("", 0, tree)], set()
    while waiting:
        prefix, depth, module = waiting.pop()
        if not isinstance(module, _Named) or not isinstance(module.state, dict) or id(module) in seen:
            continue
        seen.add(id(module))
        if depth > _DEEPEST or len(seen) > _MOST_MODULES:
            raise ValueError("its modules are too many, or too deep in each other")
        for name, value in module.state.items():
            if not isinstance(value, _Named):
                continue
            if value.name == _TENSOR:
                yield f"{prefix}{name}", value
            elif _MODULE.fullmatch(value.name):
                waiting.append((f"{prefix}{name}.", depth + 1, value))
