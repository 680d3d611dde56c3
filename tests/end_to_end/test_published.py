"""Checkpoints as others publish them, served under a name of one's own, to the client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.pictures import encoded, scene
from tests.service import started
from tests.tokenizer.foreign.published import PUBLISHED
from vistok import VisualTokenizer
from vistok.grids import decode_grid, encode_picture
from vistok_client import Client

FAMILIES = ("llamagen", "open-magvit2", "commavq")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for family in FAMILIES:
        found[family] = tmp_path_factory.mktemp("published") / family
        PUBLISHED[family].publish(PUBLISHED[family].tokenizer(), found[family])
    return found


@pytest.fixture(scope="module")
def url(folders: dict[str, Path]) -> Iterator[str]:
    options = [
        part for family, folder in folders.items() for part in ("--tokenizer", f"my-{family}={folder}")
    ]
    with started(*options) as service:
        yield service.url


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_of_any_size_there_and_back(family: str, url: str, folders: dict[str, Path]) -> None:
    tokenizer = VisualTokenizer.from_pretrained(folders[family]).rename(f"my-{family}")
    picture = scene(45, 31)
    with Client(url) as client:
        grid = client.encode(encoded(picture, "png"), tokenizer=f"my-{family}")
        assert grid == encode_picture(tokenizer, picture)
        back = np.asarray(client.decode(grid))
    assert back.shape == (45, 31, 3)
    # Convolutions and attention round by the number of threads: here and there a pixel by one level.
    assert np.abs(back.astype(int) - decode_grid(tokenizer, grid)).max() <= 1
