"""Runs a function on two ranks, which are processes of their own and speak through gloo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

RANKS = 2

Work = Callable[[int, Callable[[], None]], Any]
"""What a rank does with its number and the function that enters the group; at the top of a module."""


def on_two_ranks(work: Work, folder: Path) -> list[Any]:
    """Give what each rank answers: numbers, tensors and containers of them."""
    multiprocessing.spawn(_run, args=(work, folder), nprocs=RANKS, join=True)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


def _run(rank: int, work: Work, folder: Path) -> None:
    def join() -> None:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS
        )

    torch.set_num_threads(1)
    torch.save(work(rank, join), folder / f"{rank}.pt")
    if distributed.is_initialized():
        distributed.destroy_process_group()
