"""Frames per second of clips through the service, as a share of what the bare model does; memory by length.

    python -m bench.video [--tokenizer video-fsq-t4f8] [--side 256] [--frames 97] [--rounds 3]

A moving photo goes in as H.264, token bytes come out; they go in again, H.264 comes out. The floor is the
model alone on frames in memory, in pieces as streams have them, in one process for each clip that is under
way at the same time. All take turns; the figures are medians over the rounds. MiB is the memory of all
the service's processes at its highest while one clip of so many frames of 64 x 64 goes in and its tokens out.
"""

import argparse
import io
import multiprocessing
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice

import httpx
import numpy as np
import torch
from PIL import Image

from bench.servers import Server, vistok
from bench.serving import picture
from bench.work import AS_IT_IS
from vistok.media.clips.writing import ClipWriter
from vistok.media.pixels import to_model
from vistok.tokenizer import VisualTokenizer
from vistok_protocol import media_types

_LENGTHS = (200, 2_000, 20_000)
_SMALL = 64
_CLIPS_AT_ONCE = (1, 2)
_RATE = Fraction(100)  # so that the longest stays below the service's limit in seconds


def frames(side: int) -> Iterator[np.ndarray]:
    """Give the frames of a pan over a photo-like picture, without end."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8))
    wide = np.asarray(coarse.resize((4 * side, 4 * side), Image.Resampling.BICUBIC))
    place = 0
    while True:
        # There and back again, two pixels a frame.
        offset = abs(2 * place % (6 * side) - 3 * side)
        yield wide[offset : offset + side, offset : offset + side]
        place += 1


def clip(side: int, count: int) -> bytes:
    """Give so many frames as MP4."""
    buffer = io.BytesIO()
    with ClipWriter(buffer, "mp4", side, side, _RATE) as writer:
        for frame in islice(frames(side), count):
            writer.write(frame)
    return buffer.getvalue()


def floor(operation: str, source: str, side: int, count: int, processes: int) -> float:
    """Give the frames per second of the model alone in so many processes together."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.starmap(_floor_of_one, [(operation, source, side, count)] * processes))


def _floor_of_one(operation: str, source: str, side: int, count: int) -> float:
    torch.set_num_threads(1)
    tokenizer = VisualTokenizer.from_pretrained(source)
    pixels = to_model(np.stack(list(islice(frames(side), count)))).movedim(0, 1)[None]
    ids = tokenizer.encode(pixels[:, :, :5])
    start = time.perf_counter()
    if operation == "encode":
        encoder = tokenizer.stream_encoder()
        for piece in torch.split(pixels, 4, dim=2):
            encoder.push(piece)
    else:
        decoder = tokenizer.stream_decoder()
        for _ in range(-(-count // 4)):
            decoder.push(ids[:, -1:])
    return count / (time.perf_counter() - start)


def throughput(post: Callable[[], bytes], count: int, at_once: int) -> float:
    """Give the frames per second of so many callers with a clip each."""
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for answer in [pool.submit(post) for _ in range(at_once)]:
            answer.result()
    return at_once * count / (time.perf_counter() - start)


def speeds(server: Server, source: str, side: int, count: int, rounds: int) -> None:
    """Print frames per second of the service and of the model."""
    film = clip(side, count)
    tokens = _encode(server, film)
    posts = {"encode": lambda: _encode(server, film), "decode": lambda: _decode(server, tokens)}
    found: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for operation, post in posts.items():
            for at_once in _CLIPS_AT_ONCE:
                bare = floor(operation, source, side, count, at_once)
                found[operation, at_once].append((throughput(post, count, at_once), bare))
    print(f"| {side} x {side}, {count} frames | clips at once | frames/s | bare model | share |")
    print("|---|---|---|---|---|")
    for (operation, at_once), pairs in found.items():
        ours, bare, share = (
            statistics.median(figures) for figures in zip(*((a, b, a / b) for a, b in pairs), strict=True)
        )
        print(f"| {operation} | {at_once} | {ours:.0f} | {bare:.0f} | {share:.2f} |")


def memory(server: Server) -> None:
    """Print the service's memory for clips of growing length."""
    print(f"| frames of {_SMALL} x {_SMALL} | MiB |")
    print("|---|---|")
    for count in _LENGTHS:
        film = clip(_SMALL, count)
        with _highest(server) as peak:
            _encode(server, film)
        print(f"| {count} | {peak[0]:.0f} |", flush=True)


@contextmanager
def _highest(server: Server) -> Iterator[list[float]]:
    """Give a list whose one number grows to the highest memory that is seen."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], server.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        done.set()
        watching.join()


def _encode(server: Server, film: bytes) -> bytes:
    return _post(server.url, film, media_types.MP4, media_types.TOKENS)


def _decode(server: Server, tokens: bytes) -> bytes:
    return _post(server.url.replace("/encode", "/decode"), tokens, media_types.TOKENS, media_types.MP4)


def _post(url: str, content: bytes, media_type: str, wanted: str) -> bytes:
    headers = {"Content-Type": media_type, "Accept": wanted}
    return httpx.post(url, content=content, headers=headers, timeout=600).raise_for_status().content


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", default="video-fsq-t4f8", help="a bundled name or a folder")
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--frames", type=int, default=97)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    name = VisualTokenizer.from_pretrained(arguments.tokenizer).name
    with vistok(arguments.tokenizer, name, AS_IT_IS, picture()) as server:
        memory(server)
        speeds(server, arguments.tokenizer, arguments.side, arguments.frames, arguments.rounds)


if __name__ == "__main__":
    main()
