"""Requests per second of the service and of other servers, as a share of what the machine does without HTTP.

    python -m bench.serving [--seconds 5] [--rounds 3] [--tokenizer image-fsq-f8] [--peers]

needs wrk (a Debian package), and with --peers also litserve and mosec. A picture of 256 x 256 goes in as
JPEG, ids come out as JSON. The floor is the same work without a service: decode, fit, forward in batches of
16, in one process for each core. The default tokenizer is tiny and sees 64 x 64 pixels, so that what a server
adds is most of the work; another one sees the picture as it is. All take turns; the figures are medians over
the rounds. MiB is the memory of all processes of a server, shared pages counted once.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bench.servers import PEERS, Server, peer, vistok
from bench.work import AS_IT_IS, Work
from bench.wrk import Speed, load
from vistok.autoencoders.convolutional import ConvolutionalConfig
from vistok.config import QuantizerConfig, TokenizerConfig
from vistok.tokenizer import VisualTokenizer

_BATCH = 16
_CALLERS = (1, 16, 64)
Start = Callable[[], AbstractContextManager[Server]]


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


def floor(source: str, size: str, seconds: float) -> float:
    """Give the pictures per second of all cores together, without HTTP."""
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        return sum(pool.starmap(_floor_of_one_core, [(source, size, seconds)] * cores))


def _floor_of_one_core(source: str, size: str, seconds: float) -> float:
    work, data = Work(source, size), picture()
    work.ids([work.pixels(data)] * _BATCH)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work.ids([work.pixels(data) for _ in range(_BATCH)])
        done += _BATCH
    return done / (time.perf_counter() - start)


def report(servers: dict[str, Start], without_http: Callable[[], float], seconds: float, rounds: int) -> None:
    """Print the table."""
    floors: list[float] = []
    speeds: defaultdict[tuple[str, int], list[Speed]] = defaultdict(list)
    memory: defaultdict[str, float] = defaultdict(float)
    for _ in range(rounds):
        floors.append(without_http())
        for name, start in servers.items():
            with start() as server:
                load(server.url, picture(), 16, 1)
                for callers in _CALLERS:
                    speeds[name, callers].append(load(server.url, picture(), callers, seconds))
                memory[name] = max(memory[name], server.memory())
    print(f"no HTTP: {statistics.median(floors):.0f} pictures a second")
    print("| server | callers | requests/s | share of the floor | p50 (ms) | p99 (ms) | failed | MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, callers), measured in speeds.items():
        shares = [speed.per_second / bound for speed, bound in zip(measured, floors, strict=True)]
        middle = _medians(measured)
        print(
            f"| {name} | {callers} | {middle.per_second:.0f} | {statistics.median(shares):.2f} "
            f"| {middle.median:.2f} | {middle.p99:.2f} | {middle.failed} | {memory[name]:.0f} |"
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
    parser.add_argument("--peers", action="store_true", help="measure other servers too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tokenizer is None:
            write_tiny(Path(folder))
        source, size = (arguments.tokenizer, AS_IT_IS) if arguments.tokenizer else (folder, "64x64")
        name = VisualTokenizer.from_pretrained(source).name
        servers: dict[str, Start] = {"Vistok": partial(vistok, source, name, size, picture())}
        if arguments.peers:
            servers |= {
                peer_name: partial(peer, module, source, size, picture())
                for peer_name, module in PEERS.items()
            }
        report(servers, partial(floor, source, size, arguments.seconds), arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
