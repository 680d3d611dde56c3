"""Ids as numbers whose digits are levels: each has its own base, the first is the least significant."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from vistok.quantizers.precision import Constants


class MixedRadix(Constants):
    """Turns digits into ids and back, in int64.

    Args:
        sizes: the base of each digit; their product is at most 2**62.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        basis = [prod(sizes[:i]) for i in range(len(sizes))]
        super().__init__(
            sizes=torch.tensor(sizes, dtype=torch.int64), basis=torch.tensor(basis, dtype=torch.int64)
        )

    def ids(self, digits: Tensor) -> Tensor:
        """Give the ids `(...)` of digits `(... d)` int64."""
        return (digits * self.basis).sum(dim=-1)

    def digits(self, ids: Tensor) -> Tensor:
        """Give the digits `(... d)` of ids `(...)`."""
        return ids.unsqueeze(-1) // self.basis % self.sizes
