"""How fast and lean the quantizers are at inference, as ratios to vector-quantize-pytorch in the same run.

    python bench/quantizers.py [--rounds 9] [--only VQ] [--threads 2]

prints the table of bench/README.md. Both libraries quantize the same features in turns, so that a machine's
changing speed cancels; a ratio is the median over the turns. Memory is what the first call takes at its peak,
in a process of its own (Linux).
"""

import argparse
import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import vector_quantize_pytorch as original

from vistok import quantizers as ours

# A turn is so many calls that it takes at least so long.
_SECONDS_PER_TURN = 0.03
_LIBRARIES = {"ours": ours, "original": original}
_SMALL, _LARGE = (1, 16), (8, 32)


@dataclass(frozen=True)
class Case:
    """A quantizer, and the numbers and sides of the square maps that it is given."""

    name: str
    family: str
    dim: int
    arguments: dict[str, Any]
    is_map: bool = False
    maps: tuple[tuple[int, int], ...] = (_SMALL, _LARGE)

    def call(self, library: str, maps: tuple[int, int]) -> Callable[[], Any]:
        """Give the call to be timed."""
        torch.manual_seed(0)
        quantizer = getattr(_LIBRARIES[library], self.family)(**self.arguments).eval()
        number, side = maps
        shape = (number, self.dim, side, side) if self.is_map else (number, side * side, self.dim)
        features = torch.randn(shape)
        return lambda: quantizer(features)


def _table(name: str, size: int, dim: int, maps: tuple[tuple[int, int], ...], **arguments: Any) -> Case:
    arguments = {"dim": dim, "codebook_size": size, "accept_image_fmap": True, **arguments}
    return Case(name, "VectorQuantize", dim, arguments, is_map=True, maps=maps)


def _stack(name: str, family: str, layers: int, **arguments: Any) -> Case:
    return Case(name, family, 256, {"dim": 256, "num_quantizers": layers, **arguments})


CASES = [
    _table("VQ 1024 x 256", 1024, 256, (_SMALL, _LARGE)),
    _table("VQ 16384 x 8, cosine", 16384, 8, (_SMALL, _LARGE), use_cosine_sim=True),
    _table("VQ 262144 x 256", 262144, 256, (_SMALL,)),
    _table("VQ 1024 x 64, 4 heads", 1024, 256, (_SMALL, _LARGE), codebook_dim=64, heads=4),
    Case("SimVQ 16384 x 256", "SimVQ", 256, {"dim": 256, "codebook_size": 16384}),
    Case(
        "RandomProjectionQuantizer 4 x 1024 x 16",
        "RandomProjectionQuantizer",
        256,
        {"dim": 256, "num_codebooks": 4, "codebook_dim": 16, "codebook_size": 1024},
    ),
    _stack("ResidualVQ 8 x 1024 x 256", "ResidualVQ", 8, codebook_size=1024),
    _stack("GroupedResidualVQ 2 x 4 x 1024 x 128", "GroupedResidualVQ", 4, groups=2, codebook_size=1024),
    _stack("ResidualSimVQ 4 x 1024 x 256", "ResidualSimVQ", 4, codebook_size=1024),
    Case("FSQ 8,8,8,5,5,5", "FSQ", 6, {"levels": [8, 8, 8, 5, 5, 5]}, is_map=True),
    _stack("ResidualFSQ 8 x 8,5,5,3", "ResidualFSQ", 8, levels=[8, 5, 5, 3]),
    Case("LFQ 2^18", "LFQ", 18, {"dim": 18}, is_map=True),
    Case("LFQ 4 x 2^12", "LFQ", 48, {"dim": 48, "codebook_size": 4096, "num_codebooks": 4}, is_map=True),
    _stack("ResidualLFQ 8 x 2^8", "ResidualLFQ", 8, codebook_size=256),
    Case("LatentQuantize 5,5,8", "LatentQuantize", 16, {"levels": [5, 5, 8], "dim": 16}, is_map=True),
]
ALONE = _table("VQ 262144 x 256", 262144, 256, (_LARGE,))
"""What the original would need 34 GB for: memory alone, ours alone."""


def seconds(function: Callable[[], Any], calls: int) -> float:
    """Time a turn; per call."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


@torch.inference_mode()
def speeds(case: Case, maps: tuple[int, int], rounds: int) -> tuple[float, float]:
    """Give ours in milliseconds, and how many times longer the original takes."""
    both = [case.call(library, maps) for library in ("ours", "original")]
    calls = [max(1, int(_SECONDS_PER_TURN / max(seconds(each, 2), 1e-6))) for each in both]
    turns = [[seconds(each, n) for each, n in zip(both, calls, strict=True)] for _ in range(rounds)]
    ratio = statistics.median(theirs / mine for mine, theirs in turns)
    return 1e3 * statistics.median(mine for mine, _ in turns), ratio


@torch.inference_mode()
def own_scratch_mebibytes(case: Case, library: str, maps: tuple[int, int]) -> float:
    """Give the growth of this process's memory at its peak in the first call."""
    function = case.call(library, maps)
    ctypes.CDLL("").malloc_trim(0)  # what was freed before must not hide what is taken now
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before = _mebibytes("VmRSS")
    function()
    return _mebibytes("VmHWM") - before


def _mebibytes(figure: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{figure}:")[1].split()[0]) / 1024


def scratch_mebibytes(case: Case, library: str, maps: tuple[int, int]) -> float:
    """Ask a fresh process for the same."""
    position = "alone" if case is ALONE else str(CASES.index(case))
    arguments = [sys.executable, __file__, "--memory", position, library, *map(str, maps)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def report(only: str, rounds: int) -> None:
    """Print the table."""
    print("| quantizer | features | ours (ms) | original / ours | scratch, ours (MiB) | original (MiB) |")
    print("|---|---|---|---|---|---|")
    for case in (case for case in CASES if only in case.name):
        for maps in case.maps:
            milliseconds, ratio = speeds(case, maps, rounds)
            mine, theirs = (scratch_mebibytes(case, library, maps) for library in _LIBRARIES)
            _row(case, maps, f"{milliseconds:.3g}", f"{ratio:.1f}", f"{mine:.1f}", f"{theirs:.1f}")
    if only in ALONE.name:
        for maps in ALONE.maps:
            _row(ALONE, maps, "", "", f"{scratch_mebibytes(ALONE, 'ours', maps):.1f}", "not run")


def _row(case: Case, maps: tuple[int, int], *cells: str) -> None:
    number, side = maps
    print("|", " | ".join([case.name, f"{number} x {side} x {side}", *cells]), "|", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        position, library, number, side = arguments.memory
        case = ALONE if position == "alone" else CASES[int(position)]
        print(own_scratch_mebibytes(case, library, (int(number), int(side))))
    else:
        report(arguments.only, arguments.rounds)


if __name__ == "__main__":
    main()
