"""Damaged pictures by the thousand: each is read or refused, and none costs a worker or becomes a 500."""

import asyncio
import struct
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.server.mutations import mutated, whole_pictures
from tests.server.test_worker_process import serving, settings
from vistok.media.image import read_image
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError

CALLS, FILES, AT_ONCE = 313, 64, 3
MOST_PIXELS = 2_000_000  # so that canvases of nothing, which are read for seconds, are refused


def test_a_tiff_whose_data_begin_at_a_fraction_is_refused() -> None:
    """What Pillow makes of it is a TypeError, found among a hundred thousand others."""
    fields = [(256, 3, 1, 1), (257, 3, 1, 1), (262, 3, 1, 1), (273, 5, 1, 74), (279, 3, 1, 1)]
    directory = b"".join(struct.pack("<HHII", *field) for field in fields)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(fields)) + directory + struct.pack("<III", 0, 15, 2)
    with pytest.raises(VistokError) as refused:
        read_image(tiff + bytes(100), Limits())
    assert refused.value.code is ErrorCode.UNREADABLE_MEDIA


@pytest.mark.slow
async def test_twenty_thousand_damaged_pictures_are_read_or_refused(tiny_folder: Path) -> None:
    originals, statuses = whole_pictures(), Counter[int]()
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(client: httpx.AsyncClient, seed: int) -> None:
        random = np.random.default_rng(seed)
        async with places:
            bodies = [mutated(random, originals) for _ in range(FILES)]
            files = [("file", ("picture", body, "image/x")) for body in bodies]
            answer = await client.post("/v1/tokenizers/tiny/encode?max_side=32&ids=false", files=files)
            assert answer.status_code == 200, (seed, answer.text)
        for number, item in enumerate(answer.json()["items"]):
            status = item["error"]["status"] if "error" in item else 200
            assert status == 200 or 400 <= status < 500, (seed, number, item)
            statuses[status] += 1

    limited = settings(tiny_folder, max_pixels=MOST_PIXELS)
    async with serving(limited) as (client, process_ids):
        before = process_ids()
        async with asyncio.TaskGroup() as group:
            for seed in range(CALLS):
                group.create_task(ask(client, seed))
        assert process_ids() == before
        assert "vistok_worker_losses_total 0.0" in (await client.get("/metrics")).text
    assert statuses.total() == CALLS * FILES
    assert set(statuses) == {200, 400, 413, 422}, "every kind occurs: there is something to be seen"
