"""Values computed from weights once, and again when the weights have changed.

A table that is projected or normalized would otherwise be computed anew for every batch of tokens. Changes
are noticed by the tensors' addresses and version counters, which every in-place operation raises; only
writing through `.data` does not, and is noticed at the next switch of training or evaluation.
"""

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

Values = tuple[Tensor, ...]


class Derived(nn.Module):
    """Keeps what was computed from weights in eval mode, without gradients; it has no state of its own.

    In training and under a compiler it computes every time: gradients must reach the weights there, and a
    compiled program must not hold on to weights that may change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[list[Tensor], list[int], Values] | None = None

    def of(self, weights: Callable[[], Iterable[Tensor]], compute: Callable[[], Values]) -> Values:
        """Give `compute()`, or what it gave before if none of `weights()` has changed since."""
        if self.training or torch.compiler.is_compiling():
            return compute()
        tensors = list(weights())
        if any(tensor.is_inference() for tensor in tensors):
            return compute()  # such tensors have no version
        versions = [tensor._version for tensor in tensors]
        kept = self._kept
        if kept is None or not _same(kept, tensors, versions):
            # Under inference_mode(False), so that the values can take part in training later.
            with torch.inference_mode(False), torch.no_grad():
                # Holding the weights' memory keeps their addresses from being given to others.
                kept = [tensor.detach() for tensor in tensors], versions, compute()
            self._kept = kept
        return kept[2]

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off."""
        self._kept = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._kept = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the weights, not what follows from them."""
        return {**self.__dict__, "_kept": None}


def _same(kept: tuple[list[Tensor], list[int], Values], tensors: list[Tensor], versions: list[int]) -> bool:
    before, versions_before, _ = kept
    return versions == versions_before and all(
        old.data_ptr() == new.data_ptr() for old, new in zip(before, tensors, strict=True)
    )
