"""How evenly a batch spreads over a product vocabulary, exactly and without a row per code.

In FSQ and LFQ an id is made of digits (levels, bits). With soft digits that are independent for each token,
the batch's mean distribution over all ids is the matrix product of two halves: a few megabytes, where
the definition would take tokens x vocabulary. All ranks of a process group are one batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vistok.quantizers.processes import mean_over_ranks
from vistok_protocol.errors import ErrorCode, VistokError

# The batch's distribution has an entry per code: beyond this size it would not fit in memory.
_LARGEST_VOCABULARY = 2**24


def check_vocabulary(size: int, weight: str) -> None:
    """Refuse a vocabulary whose distribution does not fit in memory, naming the weight that asks for it."""
    if size > _LARGEST_VOCABULARY:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"a batch's entropy is known up to {_LARGEST_VOCABULARY} codes, got {size}: use {weight}=0",
        )


def batch_entropy(digits: Sequence[Tensor]) -> Tensor:
    """Give the entropy in nats of a batch's mean distribution over all ids; the mean over codebooks.

    Args:
        digits: for each digit the distributions `(n [c] levels)` of `n` tokens over its levels, in each of
            `c` codebooks.
    """
    middle = len(digits) // 2
    first, second = _joint(digits[:middle], digits[0]), _joint(digits[middle:], digits[0])
    total = mean_over_ranks(torch.einsum("n...i,n...j->...ij", first, second))
    # Ranks may have different numbers of tokens, even none.
    count = mean_over_ranks(total.new_tensor(len(first))).clamp(min=torch.finfo(total.dtype).tiny)
    return negative_p_log_p(total / count).sum() / total.shape[:-2].numel()


def bit_entropies(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Give the mean entropy of tokens' own distributions over all ids, and that of the batch's mean, in nats.

    Args:
        logits: `(n c d)`: the log odds of each bit of `n` tokens, in `c` codebooks.
    """
    bits = torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
    own = negative_p_log_p(bits).sum() / max(logits.shape[0] * logits.shape[1], 1)
    return own, batch_entropy(bits.unbind(dim=2))


def negative_p_log_p(probability: Tensor) -> Tensor:
    """Give `-p log p`, elementwise, with a finite gradient at zero."""
    return -probability * probability.clamp(min=1e-9).log()


def _joint(digits: Sequence[Tensor], like: Tensor) -> Tensor:
    """Give the distribution `(n [c] product)` of independent digits `(n [c] levels)`."""
    joint = like.new_ones(*like.shape[:-1], 1)
    for digit in digits:
        joint = torch.einsum("...j,...l->...jl", joint, digit).flatten(-2)
    return joint
