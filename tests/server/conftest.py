"""The whole application around the fake tokenizer, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from opentelemetry.sdk.trace import TracerProvider
from PIL import Image

from tests.server.fakes import BrightnessTokenizer
from vistok.config import TokenizerConfig
from vistok.tokenizer import VisualTokenizer
from vistok_server.app import create_app
from vistok_server.engine import Engine
from vistok_server.settings import Settings

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def tokenizer() -> BrightnessTokenizer:
    return BrightnessTokenizer()


@pytest.fixture
async def serve(tokenizer: BrightnessTokenizer) -> AsyncIterator[Serve]:
    """Start the application with some settings; give a client of it, ready.

    What comes while the worker is busy waits in the room, where a test can see it.
    """
    async with AsyncExitStack() as stack:

        async def start(
            tracer_provider: TracerProvider | None = None, **settings: object
        ) -> httpx.AsyncClient:
            limits = Settings(media_threads=2, **{"max_wait_ms": 1e6, **settings})
            app = create_app(limits, {tokenizer.name: tokenizer}, tracer_provider=tracer_provider)
            await stack.enter_async_context(app.router.lifespan_context(app))
            stack.callback(tokenizer.open.set)
            await app.state.engine.served.loaded
            transport = httpx.ASGITransport(app)
            client = httpx.AsyncClient(transport=transport, base_url="http://vistok")
            return await stack.enter_async_context(client)

        yield start


@pytest.fixture
async def client(serve: Serve) -> httpx.AsyncClient:
    return await serve()


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """Save a real tokenizer of a few thousand weights, untrained; give its folder."""
    config = TokenizerConfig.model_validate(
        {
            "name": "tiny",
            "autoencoder": {
                "latent_dim": 3,
                "widths": [8, 16],
                "encoder_blocks": [1, 1],
                "decoder_blocks": [1, 1],
            },
            "quantizer": {"type": "FSQ", "arguments": {"levels": [8, 6, 5]}},
        }
    )
    torch.manual_seed(0)
    VisualTokenizer(config).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def engine_of(client: httpx.AsyncClient) -> Engine:
    return client._transport.app.state.engine


async def until_waiting(client: httpx.AsyncClient, jobs: int) -> None:
    async with asyncio.timeout(30):
        while engine_of(client).waiting != jobs:
            await asyncio.sleep(0.001)


def picture(height: int = 8, width: int = 8, brightness: int = 255) -> np.ndarray:
    return np.full((height, width, 3), brightness, np.uint8)


def encoded(pixels: np.ndarray, image_format: str = "png") -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))
