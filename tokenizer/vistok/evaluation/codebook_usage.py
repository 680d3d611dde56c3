"""How much of the vocabulary is in use, and how evenly."""

import torch
from torch import Tensor


class CodebookUsage:
    """Counts ids over any number of grids; all codebooks of a tokenizer count into one vocabulary."""

    def __init__(self, vocabulary_size: int) -> None:
        self._counts = torch.zeros(vocabulary_size, dtype=torch.int64)

    def add(self, ids: Tensor) -> None:
        """Count ids of any shape."""
        self._counts += torch.bincount(ids.flatten().cpu(), minlength=len(self._counts))

    @property
    def used(self) -> int:
        """Number of distinct ids seen."""
        return int((self._counts > 0).sum())

    @property
    def share(self) -> float:
        """Distinct ids seen, as a share of the vocabulary in [0, 1]."""
        return self.used / len(self._counts)

    @property
    def perplexity(self) -> float:
        """Number of equally likely ids that would have the entropy seen, from 1 to the vocabulary size."""
        probability = self._counts[self._counts > 0].double()
        probability /= probability.sum()
        return float(torch.exp(-(probability * probability.log()).sum()))
