"""Names of weights, from those of a family to those of the first VQGAN, which our module has."""

import re
from collections.abc import Iterable, Sequence

from torch import Tensor

Weights = dict[str, Tensor]
Rule = tuple[str, str]
"""A pattern within a name, and what stands for it."""

MIDDLE: tuple[Rule, ...] = (
    (r"\.mid\.block_1\.", ".mid.0."),
    (r"\.mid\.attn_1\.", ".mid.1."),
    (r"\.mid\.block_2\.", ".mid.2."),
)
"""Of what is at the lowest resolution, with attention between two blocks."""


def within(weights: Weights, prefix: str) -> Weights:
    """Give the weights whose names begin so, without that."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def without(weights: Weights, beginnings: Iterable[str]) -> Weights:
    """Leave out what training or a constant has left behind."""
    return {name: weight for name, weight in weights.items() if not name.startswith(tuple(beginnings))}


def renamed(weights: Weights, rules: Sequence[Rule]) -> Weights:
    """Apply each rule, in their order, to each name."""
    found: Weights = {}
    for name, weight in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = weight
    return found


def turned_over(weights: Weights, beginning: str) -> Weights:
    """Count the levels `beginning.N` from the other end."""
    pattern = re.compile(rf"^({re.escape(beginning)}\.)(\d+)(?=\.)")
    last = max((int(found[2]) for name in weights if (found := pattern.match(name))), default=0)
    return {
        pattern.sub(lambda found: f"{found[1]}{last - int(found[2])}", name): weight
        for name, weight in weights.items()
    }


def count(weights: Weights, pattern: str) -> int:
    """Give how many there are of what the pattern's group numbers from 0 on, at the beginning of names."""
    numbers = (int(found[1]) for name in weights if (found := re.match(pattern, name)))
    return max(numbers, default=-1) + 1
