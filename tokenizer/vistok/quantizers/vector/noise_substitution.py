"""NSVQ: in training, the error of quantization is replaced by noise of its size (Vali and Bäckström, 2022).

"NSVQ: Noise Substitution in Vector Quantization for Machine Learning", IEEE Access 10. Training gives
`z + |z - e| v / |v|` with normal noise `v` and `e` the nearest code, and no loss: what follows learns with
errors as large as the real ones, gradients reach the features, and through the length of the error the
codes. Evaluation gives `e`. Training's output is therefore not what `lookup` gives for the ids beside it.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers import processes
from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.precision import full_precision
from vistok.quantizers.search.nearest import offsets_of_distance
from vistok.quantizers.vector.choosing import choose
from vistok.quantizers.vector.derived import Derived

# Of the codes' standard deviation: far enough for copies to part, near enough to stay in use.
_SPREAD_OF_COPIES = 0.01


class NSVQ(Quantizer):
    """Vector quantization trained by noise substitution.

    Its calls are `quantize_map`, `ids_of_map` and `lookup`.

    Args:
        dim: channels of the features and of the codes.
        codebook_size: number of codes.
        replacement_period: training batches after which unused codes are replaced by copies of used ones, a
            little apart; 0: never, which is advised towards the end of training.
        discarding_threshold: a code is unused that a smaller share of the period's batches chose.
    """

    uses: Tensor
    batches: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        replacement_period: int = 100,
        discarding_threshold: float = 0.01,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.replacement_period = replacement_period
        self.discarding_threshold = discarding_threshold
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        # Of the period that is running: how many batches chose each code, and how many there were.
        self.register_buffer("uses", torch.zeros(codebook_size))
        self.register_buffer("batches", torch.tensor(0))
        self._table = Derived()

    @torch.no_grad()
    def replace_unused_codes(self) -> int:
        """Replace the codes not used since the last call, and say how many; every rank must call it."""
        unused = self.uses / self.batches.clamp(min=1) < self.discarding_threshold
        used = self.codebook[~unused]
        count = int(unused.sum()) if len(used) else 0
        if count:
            copies = used[torch.randint(len(used), (count,), device=used.device)]
            copies += _SPREAD_OF_COPIES * used.std(correction=0) * torch.randn_like(copies)
            processes.from_first_rank(copies)
            self.codebook[unused] = copies
        self.uses.zero_()
        self.batches.zero_()
        return count

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            tokens = tokens.float()
            table, offsets = self._table_and_offsets()
            ids = choose(tokens, table, offsets)
            codes = functional.embedding(ids, table)
            if not self.training:
                return Quantized(codes, ids, codes.new_zeros(()))
            codes = substitute_noise(tokens, codes)
            self._count(ids if mask is None else ids[mask])
            return Quantized(codes, ids, codes.new_zeros(()))

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return choose(tokens.float(), *self._table_and_offsets())

    def _codes(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.codebook).float()

    def _table_and_offsets(self) -> tuple[Tensor, ...]:
        return self._table.of(lambda: (self.codebook,), self._compute_table)

    def _compute_table(self) -> tuple[Tensor, ...]:
        table = self.codebook.float()
        return table, offsets_of_distance(table.detach())

    @torch.no_grad()
    def _count(self, ids: Tensor) -> None:
        chosen = torch.bincount(ids.flatten(), minlength=self.vocabulary_size)
        processes.sum_over_ranks(chosen)
        self.uses += chosen > 0
        self.batches += 1
        if self.replacement_period and self.batches >= self.replacement_period:
            self.replace_unused_codes()


def substitute_noise(inputs: Tensor, codes: Tensor) -> Tensor:
    """Give inputs `(... d)` with noise of random direction, as long as their distance to codes `(... d)`."""
    direction = functional.normalize(torch.randn_like(inputs), dim=-1)
    return inputs + (inputs - codes).norm(dim=-1, keepdim=True) * direction
