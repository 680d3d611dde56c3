"""What a vector quantizer adds to the training loss.

Letters as in `codebook.py`: vectors and the codes chosen for them `(g m d)`, logits `(g m k)`, ids
`(g m)`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.base import ABSENT

_UNIT_EPSILON = 1e-6
_SMALLEST_PROBABILITY = 1e-5


class LossBreakdown(NamedTuple):
    """The terms of a vector quantizer's loss, scalars before their weights; zero where a term is off."""

    commitment: Tensor
    codebook_diversity: Tensor
    orthogonal_reg: Tensor
    inplace_optimize: Tensor


@dataclass(frozen=True)
class Regularization:
    """Weights and ways of the terms, named as the arguments of `VectorQuantize`."""

    commitment_weight: float
    commitment_by_cross_entropy: bool
    diversity_weight: float
    diversity_temperature: float
    orthogonality_weight: float
    orthogonality_of_active_codes: bool
    orthogonality_most_codes: int | None

    @property
    def needs_scores(self) -> bool:
        """Whether a term looks at the logits of all codes."""
        return bool(self.diversity_weight) or (
            self.commitment_weight > 0 and self.commitment_by_cross_entropy
        )

    def terms(
        self,
        vectors: Tensor,
        codes: Tensor,
        ids: Tensor,
        scores: Tensor | None,
        table: Tensor,
        mask: Tensor | None,
    ) -> LossBreakdown:
        """Compute the terms; a mask `(m)` leaves vectors out of those that are means over vectors."""
        zero = vectors.new_zeros(())
        commitment = diversity = orthogonality = zero
        if self.commitment_weight > 0:
            if self.commitment_by_cross_entropy and scores is not None:
                commitment = cross_entropy(scores, ids if mask is None else ids.masked_fill(~mask, ABSENT))
            else:
                commitment = mean_over(mask, (codes - vectors).square().mean(dim=-1))
        if self.diversity_weight and scores is not None:
            diversity = negative_entropy_of_mean(scores * self.diversity_temperature, mask)
        if self.orthogonality_weight:
            orthogonality = orthogonality_loss(self._penalized(table, ids))
        return LossBreakdown(commitment, diversity, orthogonality, zero)

    def total(self, terms: LossBreakdown) -> Tensor:
        """Weigh the terms."""
        return (
            terms.commitment * self.commitment_weight
            + terms.codebook_diversity * self.diversity_weight
            + terms.orthogonal_reg * self.orthogonality_weight
        )

    def _penalized(self, table: Tensor, ids: Tensor) -> Tensor:
        """Choose the codes `(g k' d)` of a table `(g k d)` whose orthogonality is asked for."""
        if self.orthogonality_of_active_codes:
            table = table[:, ids.unique()]
        most = self.orthogonality_most_codes
        if most is not None and table.shape[1] > most:
            table = table[:, torch.randperm(table.shape[1], device=table.device)[:most]]
        return table


def mean_over(mask: Tensor | None, values: Tensor) -> Tensor:
    """Give the mean of values `(g m)` where the mask `(m)` holds; zero where it holds nowhere."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * len(values)).clamp(min=1)


def cross_entropy(scores: Tensor, ids: Tensor) -> Tensor:
    """Give the cross entropy of logits `(g m k)` against ids `(g m)`, of which some may be absent."""
    return functional.cross_entropy(scores.flatten(0, 1), ids.flatten(), ignore_index=ABSENT)


def negative_entropy_of_mean(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Give minus the entropy, in nats, of the mean distribution over codes that logits `(g m k)` say."""
    probability = scores.softmax(dim=-1)
    if mask is None:
        mean = probability.mean(dim=1)
    else:
        mean = (probability * mask[:, None]).sum(dim=1) / mask.sum().clamp(min=1)
    return (mean * mean.clamp(min=_SMALLEST_PROBABILITY).log()).sum(dim=-1).mean()


def orthogonality_loss(table: Tensor) -> Tensor:
    """Give how far codes `(g k d)` are from being orthogonal to each other (Shin et al., arXiv:2112.00384).

    The mean square of all cosines, without the `1/k` that each code's cosine with itself contributes.
    """
    tables, size, _ = table.shape
    unit = functional.normalize(table, dim=-1, eps=_UNIT_EPSILON)
    return (unit @ unit.mT).square().sum() / (tables * size**2) - 1 / size
