"""What ranks tell each other while quantizers train. Without a process group all of it does nothing.

Whether there is a group is asked anew at every call: a quantizer may be built before the group exists.
"""

import torch
import torch.distributed as distributed
import torch.distributed.nn.functional as differentiable
import torch.nn.functional as functional
from torch import Tensor


def world_size() -> int:
    """Give the number of ranks."""
    return distributed.get_world_size() if _in_a_group() else 1


def sum_over_ranks(values: Tensor) -> None:
    """Add up in place; no gradients."""
    if _in_a_group():
        distributed.all_reduce(values)


def mean_over_ranks(values: Tensor) -> Tensor:
    """Give the average, through which gradients pass."""
    if not _in_a_group():
        return values
    return differentiable.all_reduce(values) / distributed.get_world_size()


def gather_from_ranks(rows: Tensor) -> list[Tensor]:
    """Give every rank's rows `(n d)`; ranks may have different numbers of them."""
    if not _in_a_group():
        return [rows]
    counts = [rows.new_zeros(1, dtype=torch.int64) for _ in range(world_size())]
    distributed.all_gather(counts, rows.new_full((1,), len(rows), dtype=torch.int64))
    longest = max(int(count) for count in counts)
    padded = functional.pad(rows, (0, 0, 0, longest - len(rows)))
    gathered = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(gathered, padded)
    return [each[: int(count)] for each, count in zip(gathered, counts, strict=True)]


def from_first_rank(values: Tensor) -> None:
    """Overwrite in place with the first rank's."""
    if _in_a_group():
        distributed.broadcast(values, src=0)


def _in_a_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
