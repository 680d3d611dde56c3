"""The calls of a client: what goes out, what comes back."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.client.service import FINGERPRINT, INFO, Service, make_grid, parts_of
from vistok_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    FingerprintMismatch,
    InvalidInput,
    NotFound,
    PixelSize,
    RequestRefused,
    TokenGrid,
    _batches,
)
from vistok_protocol import media_types

Connect = Callable[..., Client]


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def test_a_picture_becomes_a_grid_and_a_picture_again(connect: Connect, picture: np.ndarray) -> None:
    client = connect(Service())
    grid = client.encode(picture)
    np.testing.assert_array_equal(grid.ids, np.full((3, 2), 77))
    assert grid.pixels == PixelSize(20, 13)
    np.testing.assert_array_equal(client.decode(grid, output="numpy"), picture)
    image = client.decode(grid)
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), picture)


def test_preparation_and_ids_of_requests_stand_in_the_url_and_headers(
    connect: Connect, picture: np.ndarray
) -> None:
    service = Service()
    client = connect(service, headers={"Authorization": "Bearer secret"})
    client.encode(picture, max_side=512, fit="crop", size=(256, 384))
    assert dict(service.last.url.params) == {"max_side": "512", "fit": "crop", "size": "256x384"}
    assert service.last.headers["authorization"] == "Bearer secret"
    client.encode(picture)
    assert dict(service.last.url.params) == {}
    ids = {request.headers[media_types.REQUEST_ID] for request in service.requests}
    assert len(ids) == 2


def test_decode_takes_bytes_and_bare_ids(connect: Connect) -> None:
    service = Service()
    client = connect(service)
    grid = make_grid(np.array([[1, 2]]), PixelSize(5, 9))
    for given in (grid, grid.to_bytes(), bytearray(grid.to_bytes()), memoryview(grid.to_bytes())):
        assert client.decode(given).size == (9, 5)
        assert service.last.content == grid.to_bytes()
    for ids in (grid.ids, grid.ids.tolist(), grid.ids.astype(np.uint8)):
        assert client.decode(ids).size == (16, 8)
        assert service.last.headers["content-type"] == media_types.NPY


def test_a_grid_goes_to_its_own_tokenizer_unless_told_otherwise(connect: Connect) -> None:
    service = Service()
    client = connect(service)
    other = TokenGrid(np.array([[1]]), "org/other", "0" * 32, "image", 256, PixelSize(8, 8))
    with pytest.raises(NotFound):
        client.decode(other)
    assert service.last.url.raw_path == b"/v1/tokenizers/org%2Fother/decode"
    with pytest.raises(FingerprintMismatch):
        client.decode(other, tokenizer="grey")
    assert client.decode(other, tokenizer="grey", any_fingerprint=True).size == (8, 8)


def test_reconstruct_measures(connect: Connect, picture: np.ndarray) -> None:
    result = connect(Service()).reconstruct(picture)
    np.testing.assert_array_equal(np.asarray(result.image), picture)
    assert result.psnr == float("inf")
    assert result.bits_per_pixel == 0.125


def test_the_quantizer_alone(connect: Connect) -> None:
    client = connect(Service())
    features = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    ids = client.quantize(features)
    assert ids.dtype == np.int64
    codes = client.lookup(ids)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, features)


def test_descriptions(connect: Connect) -> None:
    client = connect(Service())
    assert client.tokenizers() == [INFO]
    assert client.tokenizer() == client.tokenizer("grey") == INFO
    with pytest.raises(NotFound):
        client.tokenizer("absent")


def test_a_list_is_one_request_and_a_list_in_order(connect: Connect, picture: np.ndarray) -> None:
    service = Service()
    darker = picture - 10
    grids = connect(service).encode([png(picture), darker, Image.fromarray(picture)], fit="pad")
    assert len(service.requests) == 1
    assert [grid.ids[0, 0] for grid in grids if isinstance(grid, TokenGrid)] == [77, 67, 77]
    assert dict(service.last.url.params) == {"fit": "pad", "ids": "false"}


def test_a_bad_picture_in_a_list_spoils_none_of_the_others(connect: Connect, picture: np.ndarray) -> None:
    service = Service()
    pictures = ["absent.png", picture, b"\x89PNG, but damaged", b"", picture - 10]
    missing, first, damaged, empty, last = connect(service).encode(pictures)
    assert isinstance(missing, InvalidInput)
    assert "absent.png" in str(missing)
    assert isinstance(empty, InvalidInput)
    assert isinstance(damaged, RequestRefused)
    assert (damaged.code, damaged.status) == ("unreadable_media", 422)
    assert damaged.request_id == service.last.headers[media_types.REQUEST_ID]
    assert isinstance(first, TokenGrid)
    assert isinstance(last, TokenGrid)
    assert (first.ids[0, 0], last.ids[0, 0]) == (77, 67)


def test_a_list_of_any_length_is_sent_in_requests_that_a_service_takes(
    connect: Connect, picture: np.ndarray
) -> None:
    service = Service()
    pictures = [picture - shade % 70 for shade in range(150)]
    results = connect(service).encode([*pictures[:100], "absent.png", *pictures[100:]])
    assert [len(parts_of(request)) for request in service.requests] == [64, 63, 23]
    assert isinstance(results.pop(100), InvalidInput)
    shades = [77 - grid.ids[0, 0] for grid in results if isinstance(grid, TokenGrid)]
    assert shades == [shade % 70 for shade in range(150)]


def test_a_list_of_large_pictures_is_sent_in_requests_that_a_service_takes(
    connect: Connect, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batches, "MOST_BYTES", 2_000)  # two pictures of 908 bytes
    service = Service()
    too_large = np.zeros((40, 40, 3), dtype=np.uint8)
    results = connect(service).encode([picture, picture - 1, too_large, picture - 2])
    assert [len(parts_of(request)) for request in service.requests] == [2, 1]
    assert isinstance(results.pop(2), InvalidInput)
    assert [grid.ids[0, 0] for grid in results if isinstance(grid, TokenGrid)] == [77, 76, 75]


@pytest.mark.parametrize("pictures", [[], ["absent.png"]], ids=["no picture", "no good picture"])
def test_nothing_is_sent_for_nothing(connect: Connect, pictures: list[str]) -> None:
    service = Service()
    assert len(connect(service).encode(pictures)) == len(pictures)
    assert service.requests == []


def test_the_address_of_a_reconstruction(connect: Connect) -> None:
    service = Service()
    grid = make_grid(np.array([[1, 2]]), PixelSize(8, 16))
    url = connect(service).reconstruction_url(grid)
    assert url == f"http://test/v1/tokenizers/grey/reconstruction?tokens={grid.to_base64url()}"
    assert connect(service).reconstruction_url(grid.to_bytes(), tokenizer="a") == url.replace("grey", "a")
    assert service.requests == []


def test_an_address_that_is_too_long_says_how_long(connect: Connect) -> None:
    grid = make_grid(np.zeros((300, 300), dtype=np.int64), PixelSize(2400, 2400))
    length = len(grid.to_base64url()) + len("http://test/v1/tokenizers/grey/reconstruction?tokens=")
    with pytest.raises(InvalidInput, match=f"{length} characters, the service takes 64000"):
        connect(Service()).reconstruction_url(grid)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "http://a\n", "http://a:b", "localhost:8000", "ftp://a", "http://a..b", None],
    ids=repr,
)
def test_what_is_no_address_is_said_at_once(url: Any) -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(InvalidInput, match="expected the URL of a service"):
            client(url)


def test_a_closed_client_says_so(picture: np.ndarray) -> None:
    service = Service()
    with Client("http://test", transport=service.transport) as client:
        pass
    with pytest.raises(ConnectionFailed, match="closed"):
        client.encode(picture)
    assert service.requests == []


def test_a_service_may_live_under_a_path(picture: np.ndarray) -> None:
    service = Service()
    with Client("http://test/api/", tokenizer="grey", transport=service.transport) as client:
        with pytest.raises(NotFound):
            client.encode(picture)
        grid = make_grid(np.array([[1]]), PixelSize(8, 8))
        assert client.reconstruction_url(grid).startswith("http://test/api/v1/tokenizers/grey/")
    assert service.last.url.path == "/api/v1/tokenizers/grey/encode"


def test_a_grid_from_the_service_can_be_kept(
    connect: Connect, picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    grid = connect(Service()).encode(picture)
    path = tmp_path_factory.mktemp("grids") / "picture.vtok"
    grid.save(path)
    assert TokenGrid.load(path) == grid
    assert grid.fingerprint == FINGERPRINT
