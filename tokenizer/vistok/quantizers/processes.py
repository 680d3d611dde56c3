"""What ranks tell each other while quantizers train. Without a process group all of it does nothing.

Whether there is a group is asked anew at every call: a quantizer may be built before the group exists.
"""

import torch.distributed as distributed
import torch.distributed.nn.functional as differentiable
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


def from_first_rank(values: Tensor) -> None:
    """Overwrite in place with the first rank's."""
    if _in_a_group():
        distributed.broadcast(values, src=0)


def _in_a_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
