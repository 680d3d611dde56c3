"""The first promise: what is in a batch with a picture, and who computes it, does not show in its ids."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.end_to_end.watching import PATIENCE_SECONDS, figure, processor_seconds, workers_of
from tests.pictures import encoded, scene
from tests.service import started
from vistok import VisualTokenizer
from vistok.grids import encode_picture

PICTURES, AT_ONCE = 200, 64
# More threads than a device has cores: each has one worker.
ONE_EACH = {"VISTOK_TORCH_THREADS": "1024"}
COMMON_SIZES = [(48, 64), (64, 48), (72, 72), (17, 90)]


def pictures() -> list[np.ndarray]:
    """Three of four in one of few sizes, so that batches are large; the others each in its own."""
    sides = np.random.default_rng(0).integers(1, 150, (PICTURES, 2))
    sizes = [COMMON_SIZES[i // 4 % 4] if i % 4 else tuple(sides[i]) for i in range(PICTURES)]
    return [scene(*size, seed=seed) for seed, size in enumerate(sizes)]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["tiny", "image-fsq-f8"])
def test_ids_depend_on_the_picture_alone(source: str, tiny_folder: Path) -> None:
    source = str(tiny_folder) if source == "tiny" else source
    tokenizer = VisualTokenizer.from_pretrained(source)
    originals = pictures()
    expected = [encode_picture(tokenizer, picture).ids.tolist() for picture in originals]
    bodies = [encoded(picture) for picture in originals]
    with (
        started("--tokenizer", source, "--device", "cpu,cpu", **ONE_EACH) as service,
        httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):

        def ids_of(body: bytes) -> object:
            url, headers = f"/v1/tokenizers/{tokenizer.name}/encode", {"Content-Type": "image/png"}
            return client.post(url, content=body, headers=headers).json()["ids"]

        workers = workers_of(service)
        assert len(workers) == 2
        assert [ids_of(body) for body in bodies] == expected
        assert figure(service, "vistok_batch_jobs_count") == PICTURES, "each was alone"
        busy = [processor_seconds(worker) for worker in workers]
        order = random.Random(0).sample(range(PICTURES), PICTURES)
        under_load = dict(zip(order, threads.map(ids_of, (bodies[i] for i in order)), strict=True))
        assert [under_load[i] for i in range(PICTURES)] == expected
        assert figure(service, "vistok_batch_jobs_count") < 1.9 * PICTURES, "some were together"
        assert all(processor_seconds(one) > before for one, before in zip(workers, busy, strict=True))
