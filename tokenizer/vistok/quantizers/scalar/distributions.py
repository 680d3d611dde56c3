"""Cumulative distribution functions, which squeeze the real line into (0, 1), and their inverses."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Distribution(NamedTuple):
    """A distribution around zero.

    Attributes:
        cumulative: from values to probabilities.
        inverse: from probabilities in (0, 1) to values.
    """

    cumulative: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


def _laplace(values: Tensor) -> Tensor:
    return (1 + values.sign() * (1 - (-values.abs()).exp())) / 2


def _inverse_laplace(probability: Tensor) -> Tensor:
    from_middle = probability - 0.5
    return -from_middle.sign() * torch.log1p(-2 * from_middle.abs())


DISTRIBUTIONS = {
    "tanh": Distribution(lambda x: (x.tanh() + 1) / 2, lambda p: (2 * p - 1).atanh()),
    "sigmoid": Distribution(torch.sigmoid, torch.logit),
    "normal": Distribution(
        lambda x: (1 + torch.erf(x / math.sqrt(2))) / 2, lambda p: math.sqrt(2) * torch.erfinv(2 * p - 1)
    ),
    "laplace": Distribution(_laplace, _inverse_laplace),
    "cauchy": Distribution(lambda x: x.atan() / math.pi + 0.5, lambda p: ((p - 0.5) * math.pi).tan()),
}
