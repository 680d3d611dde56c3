"""The examples run."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.client.service import Service
from vistok_client import Client, TokenGrid

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_encode_image(
    connect: Callable[..., Client], picture: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture).save(tmp_path / "grey.png")
    encode_image = runpy.run_path(str(EXAMPLES / "encode_image.py"))["encode_image"]
    decoded = encode_image(connect(Service()), tmp_path / "grey.png")
    with Image.open(decoded) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert TokenGrid.load(tmp_path / "grey.vtok").shape == (3, 2)
    assert "grey.png: 3 x 2 ids of 256 by grey" in capsys.readouterr().out
