"""The figures of `/metrics` after known calls."""

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import encoded, picture, until_waiting
from tests.server.fakes import BrightnessTokenizer

PNG = {"Content-Type": "image/png"}
ENCODE = "/v1/tokenizers/fake/encode"


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """Give each sample by its name and the values of its labels, in the order of their names."""
    text = (await client.get("/metrics")).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_calls_errors_batches_and_ids_are_counted(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    first = asyncio.create_task(client.post(ENCODE, content=encoded(picture(4, 4)), headers=PNG))
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    more = [
        asyncio.create_task(client.post(ENCODE, content=encoded(picture(8, 8, 17 * level)), headers=PNG))
        for level in (0, 5)
    ]
    await until_waiting(client, 2)
    assert (await figures(client))["vistok_jobs_waiting",] == 2
    tokenizer.open.set()
    await asyncio.gather(first, *more)
    await client.post(ENCODE, content=b"no picture", headers=PNG)
    await client.get("/nowhere/at/all")
    shown = await figures(client)
    route = "/v1/tokenizers/{name}/encode"
    assert shown["vistok_requests_total", route, "200"] == 3
    assert shown["vistok_requests_total", route, "422"] == 1
    assert shown["vistok_requests_total", "none", "404"] == 1
    assert shown["vistok_request_seconds_count", route] == 4
    assert shown["vistok_refusals_total", "unreadable_media"] == 1
    assert shown["vistok_refusals_total", "not_found"] == 1
    assert shown["vistok_batch_jobs_count", "encode", "fake"] == 3
    assert shown["vistok_batch_jobs_sum", "encode", "fake"] == 4
    assert shown["vistok_queue_seconds_count", "encode", "fake"] == 4
    # What does not tell its size counts for a whole batch.
    assert shown["vistok_pixels_total", "encode", "fake"] == 16 + 2 * 64 + 2048 * 2048
    assert shown["vistok_items",] == 0
    assert shown["vistok_workers_up",] == 1
    assert shown["vistok_worker_losses_total",] == 0
    # One white cell, four black ones, four of level 5.
    assert shown["vistok_vocabulary_used", "fake"] == 3
    assert shown["vistok_vocabulary_perplexity", "fake"] == pytest.approx(2.63, abs=0.01)


async def test_every_figure_is_documented(client: httpx.AsyncClient) -> None:
    operations = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    text = (await client.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        assert f"`{family.name}" in operations, family.name
