"""The terms of LFQ's training loss: two entropies and the commitment, before they are weighted."""

from typing import NamedTuple

import torch
from torch import Tensor

from vistok.quantizers.scalar.base import of_tokens
from vistok.quantizers.scalar.diversity import bit_entropies


class LossBreakdown(NamedTuple):
    """The terms of the training loss before they are weighted; scalars, zero in eval mode."""

    per_sample_entropy: Tensor
    batch_entropy: Tensor
    commitment: Tensor


def no_loss(like: Tensor) -> LossBreakdown:
    """Give zeros on the device of a float32 tensor."""
    zero = like.new_zeros(())
    return LossBreakdown(zero, zero, zero)


def loss_terms(
    latents: Tensor,
    codes: Tensor,
    mask: Tensor | None,
    *,
    commitment: bool,
    sharpness: float | None,
    share: float,
) -> LossBreakdown:
    """Give the terms that are asked for, the others being zero.

    Args:
        latents: `(b n [c] d)`, one channel a bit.
        codes: of the latents' shape, without gradients.
        mask: `(b n)` bool: which tokens count.
        commitment: whether to give the mean squared distance between latents and codes.
        sharpness: latents times it are the log odds of the bits; None leaves the entropies out.
        share: of the tokens, drawn anew each time, that the entropies look at.
    """
    latents, codes = of_tokens(latents, mask), of_tokens(codes, mask)
    terms = no_loss(latents)
    if commitment:
        terms = terms._replace(commitment=(latents - codes).square().sum() / max(latents.numel(), 1))
    if sharpness is not None:
        own, batch = bit_entropies(sharpness * _drawn(latents, share))
        terms = terms._replace(per_sample_entropy=own, batch_entropy=batch)
    return terms


def _drawn(tokens: Tensor, share: float) -> Tensor:
    if share == 1:
        return tokens
    count = min(len(tokens), max(1, int(len(tokens) * share)))
    return tokens[torch.randperm(len(tokens), device=tokens.device)[:count]]
