"""The service around a real, untrained tokenizer: the tokens of HTTP are those of the library."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from tests.server.conftest import encoded, pixels_of
from vistok.grids import decode_grid, encode_picture
from vistok.tokenizer import VisualTokenizer
from vistok_protocol import media_types
from vistok_protocol.npy import read_npy, write_npy
from vistok_protocol.tokens import TokenGrid
from vistok_server.app import create_app
from vistok_server.settings import Settings

BASE = "/v1/tokenizers/tiny"


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(16, 24)] * 5 + [(17, 23)] * 3 + [(40, 8)]
    return [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


@pytest.fixture
def tiny(tiny_folder: Path) -> VisualTokenizer:
    return VisualTokenizer.from_pretrained(tiny_folder)


@pytest.fixture
async def service(tiny: VisualTokenizer):  # type: ignore[no-untyped-def]
    app = create_app(Settings(torch_threads=1), {"tiny": tiny})
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vistok") as client,
    ):
        await app.state.engine.served.loaded
        yield client


async def test_tokens_under_load_are_those_of_the_library(
    service: httpx.AsyncClient, tiny: VisualTokenizer
) -> None:
    headers = {"Content-Type": "image/png", "Accept": media_types.TOKENS}
    answers = await asyncio.gather(
        *(service.post(f"{BASE}/encode", content=encoded(picture), headers=headers) for picture in pictures())
    )
    grids = [TokenGrid.from_bytes(answer.content) for answer in answers]
    assert grids == [encode_picture(tiny, picture) for picture in pictures()]
    decoded = await asyncio.gather(
        *(
            service.post(
                f"{BASE}/decode", content=answer.content, headers={"Content-Type": media_types.TOKENS}
            )
            for answer in answers
        )
    )
    for grid, answer, picture in zip(grids, decoded, pictures(), strict=True):
        assert pixels_of(answer.content).shape == picture.shape
        assert np.array_equal(pixels_of(answer.content), decode_grid(tiny, grid))


async def test_the_quantizer_alone_agrees_with_the_library(
    service: httpx.AsyncClient, tiny: VisualTokenizer
) -> None:
    features = torch.randn(2, tiny.latent_dim, 3, 5, generator=torch.Generator().manual_seed(0))
    headers = {"Content-Type": media_types.NPY, "Accept": media_types.NPY}
    ids = await service.post(f"{BASE}/quantize", content=write_npy(features.numpy()), headers=headers)
    assert np.array_equal(read_npy(ids.content, max_elements=100), tiny.quantize(features).numpy())
    codes = await service.post(f"{BASE}/lookup", content=ids.content, headers=headers)
    assert np.array_equal(
        read_npy(codes.content, max_elements=1000), tiny.lookup(tiny.quantize(features)).numpy()
    )


async def test_the_description_is_the_librarys(service: httpx.AsyncClient, tiny: VisualTokenizer) -> None:
    assert (await service.get(BASE)).json() == tiny.describe().model_dump(mode="json")
