"""Gumbel softmax: the id is that of the largest logit (Jang et al., arXiv:1611.01144).

In training noise is added to the logits, the output is the code that wins, and gradients take the choice for
the softmax at a temperature: `q = (onehot - sg(p) + p) E`. Beside it stands the divergence of the softmax
from the uniform distribution, which keeps codes in use. Without training there is no noise.
"""

from math import log

import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.precision import Projection, full_precision
from vistok.quantizers.vector.choosing import choose


class GumbelQuantizer(Quantizer):
    """Quantization by logits.

    Its calls are `quantize_map`, `ids_of_map` and `lookup`.

    Args:
        dim: channels of the features and of the codes.
        codebook_size: number of codes.
        divergence_weight: weight of `KL(softmax(logits) || uniform)`, in nats, summed over the codes.
        temperature: of the softmax that gradients pass through.
    """

    def __init__(
        self, dim: int, codebook_size: int, *, divergence_weight: float = 5e-4, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.divergence_weight = divergence_weight
        self.temperature = temperature
        self.logits = Projection(dim, codebook_size)
        self.embedding = nn.Embedding(codebook_size, dim)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            if not self.training:
                ids = self._ids(tokens)
                return Quantized(self._codes(ids), ids, self.embedding.weight.new_zeros(()))
            logits = self.logits(tokens)
            choice = functional.gumbel_softmax(logits, self.temperature, hard=True)
            divergence = _divergence(logits if mask is None else logits[mask])
            codes = choice @ self.embedding.weight.float()
            return Quantized(codes, choice.argmax(dim=-1), self.divergence_weight * divergence)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return choose(tokens.float(), self.logits.weight.float(), self.logits.bias.detach().float())

    def _codes(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.embedding.weight).float()


def _divergence(logits: Tensor) -> Tensor:
    """Give the mean over tokens; zero without any."""
    probabilities = logits.softmax(dim=-1)
    of_tokens = (probabilities * (logits.log_softmax(dim=-1) + log(logits.shape[-1]))).sum(dim=-1)
    return of_tokens.sum() / max(of_tokens.numel(), 1)
