"""One real service around a tiny tokenizer for all tests here, and a tiny tokenizer of clips."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import tiny_tokenizer_of, tiny_video_tokenizer_of
from tests.service import Service, started
from vistok.tokenizer import VisualTokenizer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "tiny"
    tiny_tokenizer_of().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def service(folder: Path) -> Iterator[Service]:
    with started("--tokenizer", str(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> VisualTokenizer:
    return VisualTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "tiny-video"
    tiny_video_tokenizer_of().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def video_tokenizer(video_folder: Path) -> VisualTokenizer:
    return VisualTokenizer.from_pretrained(video_folder)
