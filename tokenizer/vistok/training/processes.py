"""One process or several: under torchrun each trains on its own device, and gradients are averaged."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed


@dataclass(frozen=True)
class Place:
    """This process among all: its rank, their number, its device."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0


@contextmanager
def place() -> Iterator[Place]:
    """Join the group that torchrun announces in the environment, if any, and leave it at the end."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if world_size == 1:
        yield Place(rank, world_size, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(rank, world_size, device)
    finally:
        # A model that averages gradients holds the group. Were it the last one to do so, it would end the
        # group's threads with the interpreter's lock in its hand, for which one of them may be waiting.
        gc.collect()
        distributed.destroy_process_group()


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Decide on bf16 autocast, which is many times slower than float32 where the processor lacks it."""
    if precision != "auto":
        return precision == "bf16"
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
