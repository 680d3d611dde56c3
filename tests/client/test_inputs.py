"""Everything that may be called a picture, and what is sent for it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.client.service import Service
from vistok_client import Client, InvalidInput, RequestRefused
from vistok_protocol import media_types

Connect = Callable[..., Client]
FORMATS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}


def saved(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, picture_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("picture_format", FORMATS)
def test_files_are_sent_as_they_are_with_their_type(
    connect: Connect, picture: np.ndarray, picture_format: str, tmp_path: Path
) -> None:
    service = Service()
    client = connect(service)
    content = saved(Image.fromarray(picture), picture_format)
    path = tmp_path / "a name without an ending"
    path.write_bytes(content)
    with path.open("rb") as opened:
        for given in (path, str(path), content, bytearray(content), opened, io.BytesIO(content)):
            grid = client.encode(given)
            assert abs(int(grid.ids[0, 0]) - 77) <= 2
            assert service.last.content == content
            assert service.last.headers["content-type"] == FORMATS[picture_format]


def test_an_unknown_file_has_the_type_of_its_name(connect: Connect, tmp_path: Path) -> None:
    service = Service()
    client = connect(service)
    for name, expected in {"clip.mp4": "video/mp4", "noise": "application/octet-stream"}.items():
        (tmp_path / name).write_bytes(b"something")
        with pytest.raises(RequestRefused):
            client.encode(tmp_path / name)
        assert service.last.headers["content-type"] == expected


def test_arrays_travel_as_npy(connect: Connect, picture: np.ndarray) -> None:
    service = Service()
    connect(service).encode(np.flip(picture, axis=0))
    assert service.last.headers["content-type"] == media_types.NPY
    np.testing.assert_array_equal(np.load(io.BytesIO(service.last.content)), picture)


def test_a_missing_file_is_the_error_that_everyone_knows(connect: Connect) -> None:
    with pytest.raises(FileNotFoundError):
        connect(Service()).encode("absent.png")


WRONG: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a number": lambda: 7,
    "empty bytes": lambda: b"",
    "an open text file": lambda: io.StringIO("text"),
    "an array of objects": lambda: np.array([None]),
    "a damaged image": lambda: Image.open(io.BytesIO(saved(Image.new("RGB", (64, 64)), "PNG")[:60])),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_picture_is_never_sent(connect: Connect, make: Callable[[], Any]) -> None:
    service = Service()
    with pytest.raises(InvalidInput) as caught:
        connect(service).encode(make())
    assert isinstance(caught.value, ValueError)
    assert caught.value.request_id is None
    assert service.requests == []


@pytest.mark.parametrize("size", [(256,), (256, 0), (-1, 8), (8.0, 8.0), "8x8", 8, (8, 8, 3)], ids=str)
def test_what_is_no_size_is_never_sent(connect: Connect, picture: np.ndarray, size: Any) -> None:
    service = Service()
    for call in (connect(service).encode, connect(service).reconstruct):
        with pytest.raises(InvalidInput, match="two positive integers"):
            call(picture, size=size)
    with pytest.raises(InvalidInput):
        connect(service).encode([picture], size=size)
    assert service.requests == []


def test_a_size_may_come_from_numpy(connect: Connect, picture: np.ndarray) -> None:
    service = Service()
    connect(service).encode(picture, size=(np.int64(8), np.int32(16)))
    assert service.last.url.params["size"] == "8x16"


def test_what_is_no_output_is_never_sent(connect: Connect) -> None:
    service = Service()
    for output in ("torch", "PIL", None, ["pil"]):
        with pytest.raises(InvalidInput, match="'pil' or 'numpy'"):
            connect(service).decode([[1]], output=output)
    assert service.requests == []


@pytest.mark.parametrize("given", [b"no tokens", [[1], [2, 3]], [["a"]]], ids=["bytes", "ragged", "text"])
def test_what_is_no_grid_is_never_sent(connect: Connect, given: Any) -> None:
    service = Service()
    with pytest.raises(InvalidInput):
        connect(service).decode(given)
    assert service.requests == []
