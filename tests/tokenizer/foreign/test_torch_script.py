"""TorchScript archives: their tensors are read, and nothing of them runs."""

import os
import pickle
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tokenizer.foreign.scripts import write_script
from vistok import VisualTokenizer
from vistok.checkpoints.foreign.archive import read
from vistok_protocol.errors import ErrorCode, VistokError

WEIGHTS = {
    "first.weight": torch.arange(24.0).reshape(2, 3, 4).to(torch.bfloat16),
    "first.0.inner.bias": torch.tensor([0.5, -1.5]),
    "last.turned": torch.arange(6.0).reshape(2, 3).T,
    "last.scalar": torch.tensor(3),
    "last.none": torch.zeros(0, 2),
    "flag": torch.tensor([True, False]),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.jit"
    write_script(path, WEIGHTS)
    return path


def rewritten(path: Path, entries: dict[str, bytes | None], compression: int = ZIP_STORED) -> Path:
    """Write an archive with other entries, named as within its folder; None leaves one out."""
    with ZipFile(path) as archive:
        held = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", compression) as archive:
        for name, content in {**held, **entries}.items():
            if content is not None:
                archive.writestr(f"encoder/{name}", content)
    return path


def described(path: Path) -> bytes:
    with ZipFile(path) as archive:
        return archive.read("encoder/data.pkl")


def refused(path: Path) -> str:
    with pytest.raises(VistokError) as caught:
        read(path)
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_its_tensors_are_those_that_torch_reads(archive: Path) -> None:
    theirs = torch.jit.load(archive).state_dict()
    ours = read(archive)
    assert ours.keys() == theirs.keys() == WEIGHTS.keys()
    for name, weight in theirs.items():
        assert ours[name].dtype == weight.dtype
        assert torch.equal(ours[name], weight)


@pytest.mark.parametrize("place", ["alone", "as a module", "as a value"])
def test_what_a_hostile_one_asks_for_does_not_happen(archive: Path, place: str, tmp_path: Path) -> None:
    happened = tmp_path / "happened"

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {happened}",)

    order = pickle.dumps(Hostile(), protocol=2)
    pickle.loads(order)
    assert happened.exists()
    happened.unlink()
    call = order[2:-1]
    hostile = {
        "alone": order,
        "as a module": described(archive).replace(b"\x80\x02", b"\x80\x02" + call + b"0", 1),
        "as a value": described(archive).replace(b"\x88", call, 1),
    }[place]
    assert "posix.system" in refused(rewritten(archive, {"data.pkl": hostile}))
    with pytest.raises(VistokError):
        VisualTokenizer.from_pretrained(archive)
    assert not happened.exists()


def test_its_programs_are_not_looked_at(archive: Path) -> None:
    with ZipFile(archive) as opened:
        programs = [name.partition("/")[2] for name in opened.namelist() if "/code/" in name]
    assert programs
    rewritten(archive, dict.fromkeys(programs, b"not a program") | {"version": b"999"})
    assert read(archive).keys() == WEIGHTS.keys()


def test_a_file_cannot_change_how_the_next_is_read(archive: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(archive, tmp_path / "other.jit"))
    # What tensors and modules are made by gets attributes, as if it was an object with slots.
    state = b"N}(X\x04\x00\x00\x00nameX\x01\x00\x00\x00xX\x0c\x00\x00\x00__setstate__Nu\x86b"
    for maker in (
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"c__torch__\nBox\n",
        b"ccollections\nOrderedDict\n",
    ):
        refused(rewritten(other, {"data.pkl": b"\x80\x02" + maker + state + b"."}))
    assert read(archive).keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    ("entries", "compression"),
    [
        ({"data.pkl": None}, ZIP_STORED),
        ({"data.pkl": b""}, ZIP_STORED),
        ({"data.pkl": b"\x80\x02."}, ZIP_STORED),
        ({"byteorder": b"big"}, ZIP_STORED),
        ({"data/0": b"\0"}, ZIP_STORED),
        ({"data/0": None}, ZIP_STORED),
        ({}, ZIP_DEFLATED),
    ],
)
def test_a_damaged_one_is_refused(archive: Path, entries: dict[str, bytes | None], compression: int) -> None:
    refused(rewritten(archive, entries, compression))


def test_what_is_no_zip_file_is_refused(archive: Path) -> None:
    whole = archive.read_bytes()
    for damaged in (b"", b"PK\x03\x04", whole[: len(whole) // 2]):
        archive.write_bytes(damaged)
        refused(archive)


@pytest.mark.parametrize("side", [b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"X\x01\x00\x00\x00x"])
def test_a_tensor_is_no_larger_than_what_is_stored(archive: Path, side: bytes) -> None:
    pristine, size = described(archive), b"K\x02K\x03K\x04t"
    assert pristine.count(size) == 1
    rewritten(archive, {"data.pkl": pristine.replace(size, b"K\x02K\x03" + side + b"t")})
    assert "first.weight" in refused(archive)


def test_modules_may_not_be_without_end(archive: Path) -> None:
    inner = b"c__torch__\nBox\n)\x81"
    nested = b"}X\x01\x00\x00\x00m" + inner
    endless = b"\x80\x02" + inner + nested * 100 + b"sb" * 100 + b"."
    assert "deep" in refused(rewritten(archive, {"data.pkl": endless}))
    # One that holds itself.
    rewritten(archive, {"data.pkl": b"\x80\x02" + inner + b"q\x00}X\x01\x00\x00\x00mh\x00sb."})
    assert read(archive) == {}


def test_a_promise_of_many_objects_takes_no_memory(archive: Path) -> None:
    promise = b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b"."
    assert read(rewritten(archive, {"data.pkl": promise})) == {}


def test_any_damage_is_refused_or_harmless(archive: Path) -> None:
    pristine = described(archive)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, len(pristine) - 1), st.integers(0, 255)), min_size=1, max_size=3)
    )
    def of_any_bytes(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(pristine)
        for place, byte in changes:
            damaged[place] = byte
        rewritten(archive, {"data.pkl": bytes(damaged)})
        with suppress(VistokError):
            assert all(isinstance(weight, Tensor) for weight in read(archive).values())

    of_any_bytes()
