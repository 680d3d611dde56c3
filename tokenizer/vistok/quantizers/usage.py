"""How much of a vocabulary is in use, and how evenly, from the ids that quantizing gave anyway."""

import torch
from torch import Tensor

from vistok.quantizers.base import Quantizer


class CodebookUsage:
    """Counts ids over any number of batches. Memory grows with the ids that occur, not with the vocabulary.

    Several ids of one position count into one vocabulary; for each codebook on its own, keep one of these for
    each column of the ids.
    """

    def __init__(self, vocabulary_size: int) -> None:
        self._vocabulary_size = vocabulary_size
        self._seen = torch.empty(0, dtype=torch.int64)
        self._counts = torch.empty(0, dtype=torch.int64)

    @classmethod
    def of(cls, quantizer: Quantizer, ids: Tensor) -> "CodebookUsage":
        """Count one batch of a quantizer's ids."""
        usage = cls(quantizer.vocabulary_size)
        usage.add(ids)
        return usage

    def add(self, ids: Tensor) -> None:
        """Count ids of any shape; those that are absent, below zero, do not count."""
        flat = ids.flatten().cpu()
        new, counts = flat[flat >= 0].unique(return_counts=True)
        self._seen, places = torch.cat([self._seen, new]).unique(return_inverse=True)
        both = torch.cat([self._counts, counts])
        self._counts = both.new_zeros(len(self._seen)).index_add_(0, places, both)

    @property
    def used(self) -> int:
        """Number of distinct ids seen."""
        return len(self._seen)

    @property
    def dead(self) -> int:
        """Number of ids never seen."""
        return self._vocabulary_size - self.used

    @property
    def share(self) -> float:
        """Distinct ids seen, as a share of the vocabulary in [0, 1]."""
        return self.used / self._vocabulary_size

    @property
    def perplexity(self) -> float:
        """Number of equally likely ids that would have the entropy seen, from 1 to the vocabulary size."""
        probability = self._counts.double() / self._counts.sum()
        return float(torch.exp(-(probability * probability.log()).sum()))
