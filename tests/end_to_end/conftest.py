"""One real service around a tiny tokenizer for all tests here, and a tiny tokenizer of clips."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import tiny_tokenizer_of, tiny_video_tokenizer_of
from tests.service import Service, started
from vistok.tokenizer import VisualTokenizer


def saved(tokenizer: VisualTokenizer, temporary: pytest.TempPathFactory) -> Path:
    folder = temporary.mktemp("served") / "tiny"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_tokenizer_of(), tmp_path_factory)


@pytest.fixture(scope="session")
def service(folder: Path) -> Iterator[Service]:
    with started("--tokenizer", str(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> VisualTokenizer:
    return VisualTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_video_tokenizer_of(), tmp_path_factory)


@pytest.fixture(scope="session")
def video_tokenizer(video_folder: Path) -> VisualTokenizer:
    return VisualTokenizer.from_pretrained(video_folder)
