"""Files of strangers: tensors come out, and nothing of theirs runs."""

import os
import pickle
import zipfile
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from vistok import VisualTokenizer
from vistok.checkpoints.foreign.archive import read
from vistok_protocol.errors import ErrorCode, VistokError


class Bomb:
    """Would leave a file behind, if it were unpickled as pickles are."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


class Module(torch.nn.Linear):
    """Somebody's own, pickled as a whole."""


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_would_run_something_runs_nothing(tmp_path: Path, is_zip: bool) -> None:
    mark = tmp_path / "mark"
    file = tmp_path / "model.pt"
    torch.save({"a": torch.ones(2), "bomb": Bomb(mark)}, file, _use_new_zipfile_serialization=is_zip)
    with suppress(VistokError):
        assert torch.equal(read(file)["a"], torch.ones(2))
    with pytest.raises(VistokError):
        VisualTokenizer.from_pretrained(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)
    assert mark.exists(), "it is a real one"


@pytest.mark.parametrize("is_zip", [True, False])
def test_classes_are_read_past(tmp_path: Path, is_zip: bool) -> None:
    settings = Namespace(rate=0.1, nested=Namespace(steps=[1, 2]))
    saved = {"settings": settings, Path: {"best": Path("x")}, "state_dict": {"a": torch.arange(3)}}
    torch.save(saved, tmp_path / "last.ckpt", _use_new_zipfile_serialization=is_zip)
    assert torch.equal(read(tmp_path / "last.ckpt")["state_dict"]["a"], torch.arange(3))


def test_a_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(Module(2, 2), tmp_path / "encoder.pt")
    with pytest.raises(VistokError, match=r"pickled module.*state_dict"):
        VisualTokenizer.from_pretrained(tmp_path / "encoder.pt")


def _no_archive(path: Path) -> None:
    path.write_bytes(b"not a checkpoint")


def _half_of_one(path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


def _a_list(path: Path) -> None:
    torch.save([torch.zeros(2)], path)


def _a_plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": [1, 2]}))


def _nothing(path: Path) -> None:
    path.touch()


_NO_CHECKPOINTS = (_no_archive, _half_of_one, _another_zip, _a_list, _a_plain_pickle, _nothing)


@pytest.mark.parametrize(
    "write", [_no_archive, _half_of_one, _another_zip, _a_list, _a_plain_pickle, _nothing]
)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_what_is_no_checkpoint_is_refused(write: object, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"model{ending}"
    write(file)  # type: ignore[operator]
    with pytest.raises(VistokError) as caught:
        VisualTokenizer.from_pretrained(file)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert str(file) in caught.value.detail


def test_an_unknown_family_is_told_what_there_is(tmp_path: Path) -> None:
    torch.save({"backbone.weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(VistokError, match=r"no known family.*taming.*backbone\.weight"):
        VisualTokenizer.from_pretrained(tmp_path)


def test_a_config_of_references_to_references_is_none(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    (tmp_path / "bomb.yaml").write_text("\n".join(levels))
    torch.save({"backbone.weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(VistokError, match="no known family"):
        VisualTokenizer.from_pretrained(tmp_path)
