"""How evenly a batch spreads over a product vocabulary, exactly and without a row per code.

In FSQ and LFQ an id is made of digits (levels, bits). With soft digits that are independent for each token,
the batch's mean distribution over all ids is the matrix product of two halves: a few megabytes, where
the definition would take tokens x vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def batch_entropy(digits: Sequence[Tensor]) -> Tensor:
    """Give the entropy in nats of a batch's mean distribution over all ids.

    Args:
        digits: for each digit the distributions `(n levels)` of `n` tokens over its levels.
    """
    middle = len(digits) // 2
    first, second = _joint(digits[:middle], digits[0]), _joint(digits[middle:], digits[0])
    return negative_p_log_p(first.T @ second / len(first)).sum()


def negative_p_log_p(probability: Tensor) -> Tensor:
    """Give `-p log p`, elementwise, with a finite gradient at zero."""
    return -probability * probability.clamp(min=1e-9).log()


def _joint(digits: Sequence[Tensor], like: Tensor) -> Tensor:
    """Give the distribution `(n product)` of independent digits `(n levels)`."""
    joint = like.new_ones(len(like), 1)
    for digit in digits:
        joint = torch.einsum("nj,nl->njl", joint, digit).flatten(1)
    return joint
