"""IBQ: the id is that of the largest inner product, all codes learn at once (Shi et al., arXiv:2412.02692).

Forward, the output is the chosen code. Backward, the choice is taken for the softmax over all codes,
`q = (onehot - sg(p) + p) E` with `p = softmax(E z)`: gradients reach every code, which keeps tables of
262,144 codes in use. Inner product, not distance: ids differ from those of VQ with the same table.
"""

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.precision import full_precision
from vistok.quantizers.vector.choosing import choose
from vistok.quantizers.vector.losses import entropies_of_choice, mean_square, pull_together

# Probabilities held at a time in the backward pass: 2^24 float32 are 64 MiB.
_PROBABILITIES_PER_TILE = 2**24


class IBQ(Quantizer):
    """Index backpropagation quantization.

    Its calls are `quantize_map`, `ids_of_map` and `lookup`.

    Args:
        dim: channels of the features and of the codes.
        codebook_size: number of codes.
        commitment_weight: weight of the term that moves codes towards features with the choice held fixed;
            the two terms that move features weigh 1.
        entropy_weight: weight of the entropy of the tokens' own choices less that of the batch's; 0 leaves
            it out.
        entropy_temperature: of the softmaxes in that term.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        commitment_weight: float = 0.25,
        entropy_weight: float = 0.0,
        entropy_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.commitment_weight = commitment_weight
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature
        self.embedding = nn.Embedding(codebook_size, dim)
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            tokens = tokens.float()
            table = self.embedding.weight.float()
            ids = choose(tokens, table)
            codes = functional.embedding(ids, table)
            if not self.training:
                return Quantized(codes, ids, codes.new_zeros(()))
            through_choice = backpropagate_index(tokens.flatten(0, 1), table, ids.flatten()).view_as(tokens)
            loss = self._loss(tokens, through_choice, codes, mask)
            return Quantized(through_choice, ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return choose(tokens.float(), self.embedding.weight.float())

    def _codes(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.embedding.weight).float()

    def _loss(self, tokens: Tensor, through_choice: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
        loss = mean_square(through_choice - tokens, mask)
        loss = loss + pull_together(
            tokens, codes, mask, codes_weight=self.commitment_weight, features_weight=1.0
        )
        if self.entropy_weight:
            counted = tokens.flatten(0, 1) if mask is None else tokens[mask]
            own, of_batch = entropies_of_choice(
                counted, self.embedding.weight.float(), self.entropy_temperature
            )
            loss = loss + self.entropy_weight * (own - of_batch)
        return loss


def backpropagate_index(tokens: Tensor, table: Tensor, ids: Tensor) -> Tensor:
    """Value of the chosen codes `(n d)`, gradient of choosing by the softmax of `<token, code>`.

    Args:
        tokens: `(n d)`.
        table: `(k d)`.
        ids: `(n)`, the choices.
    """
    return _IndexBackpropagation.apply(tokens, table, ids)


class _IndexBackpropagation(torch.autograd.Function):
    """The probabilities are computed in the backward pass, tile by tile: `n k` of them are never held."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, table, ids)
        return functional.embedding(ids, table)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        tokens, table, ids = ctx.saved_tensors
        to_tokens = torch.empty_like(tokens)
        to_table = torch.zeros_like(table).index_add_(0, ids, gradient)
        rows = max(1, _PROBABILITIES_PER_TILE // len(table))
        for start in range(0, len(tokens), rows):
            tile = slice(start, start + rows)
            probability = (tokens[tile] @ table.T).softmax(dim=1)
            slope = gradient[tile] @ table.T
            to_logits = probability * (slope - (probability * slope).sum(dim=1, keepdim=True))
            to_tokens[tile] = to_logits @ table
            to_table.addmm_(to_logits.T, tokens[tile])
        return to_tokens, to_table, None
