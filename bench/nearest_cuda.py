"""The nearest-code search on a CUDA device: in one kernel, in tiles, and as vector-quantize-pytorch does it.

    python bench/nearest_cuda.py [--rounds 9]

prints a table: milliseconds of the kernel, how many times longer the others take, and what each allocates at
its peak beside tokens and codes. The searches take turns, so that a device's changing clock cancels; a ratio
is the median over the turns. The original is its VectorQuantize where that is installed, else its formula,
the distances of all tokens to all codes. Its quantizer also looks the codes up, which is little beside it.
"""

import argparse
import statistics
from collections.abc import Callable
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from vistok.quantizers.search import nearest

Search = Callable[[Tensor], Any]

# Codes, channels, tokens.
SIZES = [(codes, 256, tokens) for codes in (16384, 262144) for tokens in (256, 8192)]
_CALLS = 5


def in_one_kernel(codes: Tensor) -> Search:
    """Give the search by the kernel."""
    kernel, offsets = nearest.cuda_kernel(), nearest.offsets_of_distance(codes)
    if kernel is None:
        raise SystemExit("The kernel cannot run here: it needs triton, and triton a C compiler.")
    return lambda tokens: kernel(tokens, codes, offsets)


def in_tiles(codes: Tensor) -> Search:
    """Give the search without triton."""
    offsets = nearest.offsets_of_distance(codes)
    return lambda tokens: nearest.largest_score_in_tiles(tokens, codes, offsets)


def as_the_original(codes: Tensor) -> Search:
    """Give the original's quantizer with these codes, or its formula."""
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ImportError:
        return lambda tokens: torch.cdist(tokens, codes).argmin(dim=1)
    size, dim = codes.shape
    quantizer = VectorQuantize(dim=dim, codebook_size=size).to(codes.device).eval()
    quantizer.codebook = codes
    return lambda tokens: quantizer(tokens[None])


def milliseconds(search: Search, tokens: Tensor) -> float:
    """Time a turn; per call."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_CALLS):
        search(tokens)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / _CALLS


def peak_mebibytes(search: Search, tokens: Tensor) -> float:
    """Give the growth of allocated memory in a second call; NaN where memory is too small."""
    try:
        search(tokens)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        search(tokens)
    except torch.cuda.OutOfMemoryError:
        return nan
    return (torch.cuda.max_memory_allocated() - before) / 2**20


@torch.inference_mode()
def row(size: int, dim: int, count: int, rounds: int) -> str:
    """Give a line of the table."""
    generator = torch.Generator("cuda").manual_seed(0)
    codes = torch.randn(size, dim, device="cuda", generator=generator)
    tokens = torch.randn(count, dim, device="cuda", generator=generator)
    searches = [make(codes) for make in (in_one_kernel, in_tiles, as_the_original)]
    peaks = [peak_mebibytes(search, tokens) for search in searches]
    turns = [
        [
            nan if isnan(peak) else milliseconds(search, tokens)
            for search, peak in zip(searches, peaks, strict=True)
        ]
        for _ in range(rounds)
    ]
    ours = statistics.median(turn[0] for turn in turns)
    ratios = [statistics.median(turn[other] / turn[0] for turn in turns) for other in (1, 2)]
    cells = [f"{size} x {dim}", str(count), f"{ours:.3f}", *(f"{ratio:.2f}" for ratio in ratios)]
    return "| " + " | ".join([*cells, *(f"{peak:.1f}" for peak in peaks)]) + " |"


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    if not torch.cuda.is_available():
        raise SystemExit("This needs a CUDA device, and there is none.")
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    print(
        "| codes | tokens | kernel (ms) | tiles / kernel | original / kernel "
        "| peak, kernel (MiB) | tiles (MiB) | original (MiB) |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size, dim, count in SIZES:
        print(row(size, dim, count, rounds), flush=True)


if __name__ == "__main__":
    main()
