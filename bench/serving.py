"""Requests per second of the whole service, as a share of what its machine does without HTTP.

    python bench/serving.py [--seconds 5] [--rounds 3] [--tokenizer image-fsq-f8]

needs wrk (a Debian package). A picture of 256 x 256 goes in as JPEG, ids come out as JSON. The floor is the
same work without a service: decode, fit, forward in batches of 16, in one process for each core. The default
tokenizer is tiny and sees 64 x 64 pixels, so that what the service adds is most of the work; another one sees
the picture as it is. Floor and service take turns; the figures are medians over the rounds.
"""

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vistok.autoencoders.convolutional import ConvolutionalConfig
from vistok.config import QuantizerConfig, TokenizerConfig
from vistok.media.fitting import Fit, prepare
from vistok.media.image import read_image
from vistok.media.limits import Limits
from vistok.media.pixels import to_model
from vistok.tokenizer import VisualTokenizer
from vistok_client import Client

_BATCH = 16
_CALLERS = (1, 16, 64)
_LIMITS = Limits(10**7, 10**8)
# Tells wrk what to post.
_SCRIPT = """
local file = io.open("{picture}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "image/jpeg"
"""


@dataclass(frozen=True)
class Speed:
    """What wrk saw: requests per second, median and 99th percentile in milliseconds, and what failed."""

    per_second: float
    median: float
    p99: float
    failed: int


def write_tiny(folder: Path) -> None:
    """Save a tokenizer whose networks are as small as they can be, with 512 codes."""
    sizes = ConvolutionalConfig(latent_dim=8, widths=(8, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    quantizer = QuantizerConfig(type="VectorQuantize", arguments={"dim": 8, "codebook_size": 512})
    VisualTokenizer(TokenizerConfig(name="tiny", autoencoder=sizes, quantizer=quantizer)).save_pretrained(
        folder
    )


def picture() -> bytes:
    """Give a photo-like JPEG of 256 x 256."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8))
    buffer = BytesIO()
    coarse.resize((256, 256), Image.Resampling.BICUBIC).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def _floor_of_one_core(source: str, size: str | None, seconds: float) -> float:
    torch.set_num_threads(1)
    tokenizer = VisualTokenizer.from_pretrained(source)
    fit, data = Fit.parse(None, "resize" if size else "pad", size), picture()

    def one_batch() -> None:
        pixels = [prepare(read_image(data, _LIMITS), fit, tokenizer.factor).pixels for _ in range(_BATCH)]
        tokenizer.encode(to_model(np.stack(pixels))).numpy()

    one_batch()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        one_batch()
        done += _BATCH
    return done / (time.perf_counter() - start)


def floor(source: str, size: str | None, seconds: float) -> float:
    """Give the pictures per second of all cores together, without HTTP."""
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        return sum(pool.starmap(_floor_of_one_core, [(source, size, seconds)] * cores))


@contextmanager
def service(source: str) -> Iterator[str]:
    """Run `vistok serve` and give its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vistok", "serve", "--port", "0", "--tokenizer", source, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found.group()
                break
    finally:
        process.terminate()
        process.wait()


def load(url: str, script: Path, callers: int, seconds: float) -> Speed:
    """Have so many callers ask one after the other, each on a connection of its own."""
    command = [
        "wrk",
        "--latency",
        f"-t{min(callers, 2)}",
        f"-c{callers}",
        f"-d{seconds:g}s",
        "--timeout=60s",
        "-s",
        str(script),
        url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    return Speed(
        float(rate[1]),
        _milliseconds(text, "50%"),
        _milliseconds(text, "99%"),
        int(failed[1]) if failed else 0,
    )


def _milliseconds(text: str, row: str) -> float:
    found = re.search(rf"{row}\s+([\d.]+)(us|ms|s)", text)
    assert found is not None, text
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def report(source: str, size: str | None, seconds: float, rounds: int) -> None:
    """Print the table."""
    floors: list[float] = []
    speeds: dict[int, list[Speed]] = {callers: [] for callers in _CALLERS}
    with tempfile.TemporaryDirectory() as folder, service(source) as address, Client(address) as client:
        (info,) = client.tokenizers()
        script = Path(folder) / "post.lua"
        (Path(folder) / "picture.jpg").write_bytes(picture())
        script.write_text(_SCRIPT.format(picture=Path(folder) / "picture.jpg"))
        query = f"?size={size}&fit=resize" if size else ""
        url = f"{address}/v1/tokenizers/{info.name}/encode{query}"
        load(url, script, 16, 1)
        for _ in range(rounds):
            floors.append(floor(source, size, seconds))
            for callers in _CALLERS:
                speeds[callers].append(load(url, script, callers, seconds))
    print(f"no HTTP: {statistics.median(floors):.0f} pictures a second")
    print("| callers | requests/s | share of the floor | p50 (ms) | p99 (ms) | failed |")
    print("|---|---|---|---|---|---|")
    for callers, measured in speeds.items():
        shares = [speed.per_second / bound for speed, bound in zip(measured, floors, strict=True)]
        middle = _medians(measured)
        print(
            f"| {callers} | {middle.per_second:.0f} | {statistics.median(shares):.2f} | {middle.median:.2f} "
            f"| {middle.p99:.2f} | {middle.failed} |"
        )


def _medians(speeds: list[Speed]) -> Speed:
    def median(figure: Callable[[Speed], float]) -> float:
        return statistics.median(map(figure, speeds))

    failed = sum(speed.failed for speed in speeds)
    return Speed(median(lambda s: s.per_second), median(lambda s: s.median), median(lambda s: s.p99), failed)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokenizer", help="a bundled name or folder; the tiny one if left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tokenizer is None:
            write_tiny(Path(folder))
        source, size = (arguments.tokenizer, None) if arguments.tokenizer else (folder, "64x64")
        report(source, size, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
