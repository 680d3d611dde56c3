"""Ids as weighted sums of small whole numbers: bits, or digits that each have a base of their own."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from vistok.quantizers.precision import Constants

# Whole numbers up to here are exact in float32, whose arithmetic is several times faster than int64's.
_EXACT_IN_FLOAT32 = 2**24


class Numbering(Constants):
    """Turns digits into ids.

    Args:
        weights: what each digit counts.
        count: number of ids, at most 2**62.
    """

    basis: Tensor
    floating_basis: Tensor

    def __init__(self, weights: Sequence[int], count: int, **constants: Tensor) -> None:
        basis = torch.tensor(weights, dtype=torch.int64)
        super().__init__(basis=basis, floating_basis=basis.float(), **constants)
        self._is_small = count <= _EXACT_IN_FLOAT32

    def ids(self, digits: Tensor) -> Tensor:
        """Give the ids `(...)` int64 of digits `(... d)`, whole numbers of any dtype."""
        if self._is_small:
            return self._floating_ids(digits.float()).long()
        return (digits.long() * self.basis).sum(dim=-1)

    def _floating_ids(self, digits: Tensor) -> Tensor:
        if digits.ndim > 2 and digits.stride(1) == 1:
            # Of a channel-first map, whose digits lie apart in memory: sum whole rows, without a copy.
            return (digits * self.floating_basis).movedim(1, -1).sum(dim=-2).movedim(-1, 1)
        # A matrix by a vector, whatever the axes: torch would take products of batches, which may round.
        return (digits.reshape(-1, digits.shape[-1]) @ self.floating_basis).reshape(digits.shape[:-1])


class MixedRadix(Numbering):
    """Turns digits into ids and back; the first digit is the least significant.

    Args:
        sizes: the base of each digit; their product is at most 2**62.
    """

    sizes: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        weights = [prod(sizes[:i]) for i in range(len(sizes))]
        super().__init__(weights, prod(sizes), sizes=torch.tensor(sizes, dtype=torch.int64))

    def digits(self, ids: Tensor) -> Tensor:
        """Give the digits `(... d)` int64 of ids `(...)`."""
        return ids.unsqueeze(-1) // self.basis % self.sizes
