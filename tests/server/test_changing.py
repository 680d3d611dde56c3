"""Tokenizers that are added and removed while the service works."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.conftest import tiny_tokenizer_of
from tests.server.conftest import Serve, encoded
from tests.server.test_metrics import figures
from tests.service import started
from vistok import VisualTokenizer
from vistok.grids import encode_picture
from vistok_server.app import create_app
from vistok_server.keys import new_key
from vistok_server.settings import Settings

PNG = {"Content-Type": "image/png"}
SECRET, ENTRY = new_key("operator")
ADMIN = {"Authorization": f"Bearer {SECRET}"}
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Save tokenizers of two families under names of their own."""
    for family in ("FSQ", "LFQ"):
        tokenizer = tiny_tokenizer_of(family)
        tokenizer.config = tokenizer.config.model_copy(update={"name": family.lower()})
        tokenizer.save_pretrained(tmp_path / family)
    return {family.lower(): tmp_path / family for family in ("FSQ", "LFQ")}


@asynccontextmanager
async def serving(first: Path, **settings: object) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    app = create_app(Settings(tokenizers=(str(first),), devices=("cpu",), admin_keys=(ENTRY,), **settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vistok", timeout=60) as client,
    ):
        await app.state.engine.served.loaded
        yield client, app


async def encode(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.post(f"/v1/tokenizers/{name}/encode", content=encoded(PICTURE), headers=PNG)


async def names(client: httpx.AsyncClient) -> list[str]:
    return [one["name"] for one in (await client.get("/v1/tokenizers")).json()["tokenizers"]]


async def add(client: httpx.AsyncClient, source: object) -> httpx.Response:
    return await client.post("/v1/tokenizers", json={"source": str(source)}, headers=ADMIN)


async def test_a_tokenizer_is_added_and_another_removed_under_load(folders: dict[str, Path]) -> None:
    async with serving(folders["fsq"]) as (client, _):
        calls = [asyncio.create_task(encode(client, "fsq")) for _ in range(40)]
        added = await add(client, folders["lfq"])
        assert (added.status_code, added.json()["name"]) == (201, "lfq")
        assert await names(client) == ["fsq", "lfq"]
        expected = encode_picture(VisualTokenizer.from_pretrained(folders["lfq"]), PICTURE).ids.tolist()
        assert (await encode(client, "lfq")).json()["ids"] == expected
        removed = await client.delete("/v1/tokenizers/fsq", headers=ADMIN)
        assert removed.status_code == 204
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert (await encode(client, "fsq")).status_code == 404
        assert await names(client) == ["lfq"]
        last = await client.delete("/v1/tokenizers/lfq", headers=ADMIN)
        assert (last.status_code, last.json()["code"]) == (400, "invalid_request")


async def test_a_larger_tokenizer_takes_the_place_of_one_with_its_name(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    smaller = tiny_tokenizer_of("VectorQuantize")
    smaller.config = smaller.config.model_copy(update={"name": "fsq"})
    smaller.save_pretrained(tmp_path / "smaller")
    async with serving(folders["lfq"]) as (client, _):
        for source in (tmp_path / "smaller", folders["fsq"]):
            await add(client, source)
            ids = (await encode(client, "fsq")).json()["ids"]
            assert (await figures(client))["vistok_vocabulary_used", "fsq"] == len(np.unique(ids))
            assert (await client.delete("/v1/tokenizers/fsq", headers=ADMIN)).status_code == 204


async def test_a_worker_that_is_replaced_has_what_was_added(folders: dict[str, Path]) -> None:
    async with serving(folders["fsq"], torch_threads=1024) as (client, app):
        await add(client, folders["lfq"])
        (supervisor,) = app.state.engine._supervisors
        os.kill(supervisor._worker.process_id, signal.SIGKILL)
        assert (await encode(client, "lfq")).status_code == 200
        assert (await encode(client, "fsq")).status_code == 200


async def test_what_cannot_be_added_changes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["fsq"]) as (client, _):
        copy = tmp_path / "copy"
        VisualTokenizer.from_pretrained(folders["fsq"]).save_pretrained(copy)
        missing, second = await add(client, tmp_path / "nothing"), await add(client, copy)
        assert (missing.status_code, missing.json()["code"]) == (404, "tokenizer_not_found")
        assert (second.status_code, second.json()["code"]) == (400, "invalid_request")
        assert "second tokenizer named 'fsq'" in second.json()["detail"]
        assert (await add(client, folders["fsq"])).json()["code"] == "invalid_request"
        assert await names(client) == ["fsq"]
        assert (await encode(client, "fsq")).status_code == 200


async def test_only_administrators_may(serve: Serve, folders: dict[str, Path]) -> None:
    closed = await serve()
    body = {"source": str(folders["fsq"])}
    assert (await closed.post("/v1/tokenizers", json=body)).status_code == 405
    assert (await closed.delete("/v1/tokenizers/fake")).status_code == 405
    client = await serve(admin_keys=(ENTRY,))
    for headers in ({}, {"Authorization": f"Bearer {SECRET[:-1]}"}):
        refused = await client.post("/v1/tokenizers", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert (await client.delete("/v1/tokenizers/fake", headers=headers)).status_code == 401
    assert (await add(client, folders["fsq"])).json()["code"] == "invalid_request"
    assert (await client.post("/v1/tokenizers", json={}, headers=ADMIN)).json()["code"] == "invalid_request"


@pytest.mark.slow
async def test_a_hang_up_reads_the_file_again(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'tokenizers = ["{folders["fsq"]}"]\ndevices = ["cpu"]\n')

    async def until_said(words: str) -> None:
        async with asyncio.timeout(60):
            while not any(words in line for line in service.lines):
                await asyncio.sleep(0.05)

    with started("--config", str(file)) as service:
        async with httpx.AsyncClient(base_url=service.url) as client:
            assert await names(client) == ["fsq"]
            file.write_text(f'tokenizers = ["{folders["lfq"]}"]\ndevices = ["cpu"]\n')
            service.process.send_signal(signal.SIGHUP)
            await until_said("serving lfq")
            assert await names(client) == ["lfq"]
            file.write_text("tokenizers = [")
            service.process.send_signal(signal.SIGHUP)
            await until_said("nothing was changed")
            assert (await encode(client, "lfq")).status_code == 200
