"""The real client against the real service over a real socket."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from tests.pictures import encoded, scene
from tests.service import Service
from vistok.evaluation.psnr import psnr
from vistok.grids import decode_grid, encode_picture
from vistok.media.fitting import Fit
from vistok.tokenizer import VisualTokenizer
from vistok_client import AsyncClient, Client, InvalidRequest, NotFound, TokenGrid


@pytest.fixture
def client(service: Service) -> Client:
    with Client(service.url, tokenizer="tiny") as connected:
        yield connected


def test_every_way_in_gives_the_librarys_tokens(
    client: Client, tokenizer: VisualTokenizer, tmp_path: Path
) -> None:
    pixels = scene(61, 83)
    expected = encode_picture(tokenizer, pixels)
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(pixels))
    for way in (path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels):
        assert client.encode(way) == expected
    with path.open("rb") as file:
        assert client.encode(file) == expected
    assert client.encode([pixels, path]) == [expected, expected]


def test_tokens_do_not_depend_on_load(client: Client, tokenizer: VisualTokenizer) -> None:
    shapes = [(40, 40), (40, 40), (64, 48), (17, 90)]
    pictures = [scene(*shapes[seed % len(shapes)], seed=seed) for seed in range(48)]
    expected = [encode_picture(tokenizer, picture) for picture in pictures]
    order = random.Random(0).sample(range(48), 48)
    with ThreadPoolExecutor(16) as pool:
        grids = dict(zip(order, pool.map(client.encode, [pictures[i] for i in order]), strict=True))
    assert [grids[i] for i in range(48)] == expected


def test_decode_gives_the_original_size_and_the_librarys_pixels(
    client: Client, tokenizer: VisualTokenizer
) -> None:
    grid = client.encode(scene(61, 83))
    expected = decode_grid(tokenizer, grid)
    assert expected.shape == (61, 83, 3)
    assert np.array_equal(np.asarray(client.decode(grid)), expected)
    assert np.array_equal(client.decode(grid, output="numpy"), expected)
    assert np.array_equal(client.decode(grid.to_bytes(), output="numpy"), expected)
    whole = client.decode(grid.ids, output="numpy")
    assert whole.shape == (64, 88, 3), "bare ids show all that they cover"
    assert np.array_equal(whole[:61, :83], expected)


def test_reconstruct_measures_what_it_sends(client: Client) -> None:
    pixels = scene(64, 72)
    result = client.reconstruct(pixels)
    assert result.psnr == pytest.approx(psnr(pixels, np.asarray(result.image)), abs=0.01)
    assert result.bits_per_pixel == pytest.approx(6 / 64, abs=1e-3)


def test_fitting_travels(client: Client, tokenizer: VisualTokenizer) -> None:
    pixels = scene(100, 140)
    fitted = client.encode(pixels, fit="crop", size=(48, 32))
    assert fitted == encode_picture(tokenizer, pixels, Fit(fit="crop", size=(48, 32)))
    assert client.encode(pixels, max_side=70).pixels.width == 70


def test_latents(client: Client, tokenizer: VisualTokenizer) -> None:
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    ids = client.quantize(features)
    assert np.array_equal(ids, tokenizer.quantize(torch.from_numpy(features)).numpy())
    assert np.array_equal(client.lookup(ids), tokenizer.lookup(torch.from_numpy(ids)).numpy())


def test_tokenizers_are_described(client: Client, tokenizer: VisualTokenizer) -> None:
    assert client.tokenizers() == [tokenizer.describe()]
    assert client.tokenizer("tiny") == tokenizer.describe()


def test_a_reconstruction_by_url_is_the_picture(client: Client, service: Service) -> None:
    grid = client.encode(scene(40, 56))
    answer = httpx.get(client.reconstruction_url(grid))
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert np.array_equal(pixels_of(answer.content), np.asarray(client.decode(grid)))
    again = httpx.get(client.reconstruction_url(grid), headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture)


def test_one_bad_file_spoils_none_of_the_others(client: Client, tokenizer: VisualTokenizer) -> None:
    good = scene(40, 40)
    first, bad, last = client.encode([good, b"no picture", good])
    assert first == last == encode_picture(tokenizer, good)
    assert isinstance(bad, InvalidRequest)
    assert bad.code == "unreadable_media"


def test_mistakes_raise_with_code_and_request_id(client: Client) -> None:
    with pytest.raises(NotFound, match="nobody") as refused:
        client.encode(scene(16, 16), tokenizer="nobody")
    assert refused.value.code == "tokenizer_not_found"
    assert refused.value.request_id
    with pytest.raises(InvalidRequest) as wrong:
        client.decode(np.array([[60]]))
    assert wrong.value.code == "id_out_of_range"


async def test_the_asynchronous_client_does_the_same(service: Service, tokenizer: VisualTokenizer) -> None:
    pictures = [scene(40, 48, seed) for seed in range(6)]
    async with AsyncClient(service.url, tokenizer="tiny") as client:
        grids = await asyncio.gather(*(client.encode(picture) for picture in pictures))
        decoded = await client.decode(grids[0], output="numpy")
    assert grids == [encode_picture(tokenizer, picture) for picture in pictures]
    assert np.array_equal(decoded, decode_grid(tokenizer, grids[0]))


def test_the_command_line_gives_the_same_tokens(client: Client, folder: Path, tmp_path: Path) -> None:
    from tests.tokenizer.test_cli import vistok

    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(scene(50, 70), "jpeg"))
    vistok("encode", photo, "-t", folder)
    assert TokenGrid.load(photo.with_suffix(".vtok")) == client.encode(photo)
