"""Searches in the CUDA kernel, in a process of its own in which Triton's interpreter runs it on the CPU.

The interpreter must be chosen before triton is imported anywhere, so the process cannot be the tests' own.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Searches = dict[str, tuple[Tensor, Tensor, Tensor]]
"""Tokens, codes and offsets by name."""


def interpreted(searches: Searches, folder: Path) -> dict[str, Any]:
    """Give the ids of each search, and under `loaded` whether a search on the CPU had imported triton."""
    torch.save(searches, folder / "searches.pt")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", __name__, str(folder)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "ids.pt", weights_only=True)


def _answer(folder: Path) -> None:
    from vistok.quantizers import VectorQuantize

    torch.set_num_threads(1)
    VectorQuantize(dim=4, codebook_size=8).eval()(torch.zeros(1, 2, 4))
    loaded = "triton" in sys.modules

    from vistok.quantizers.search.triton_nearest import largest_score

    searches: Searches = torch.load(folder / "searches.pt", weights_only=True)
    ids = {name: largest_score(*search) for name, search in searches.items()}
    torch.save({**ids, "loaded": loaded}, folder / "ids.pt")


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
