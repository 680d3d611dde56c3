"""Multi-codebook VQ: channels in chunks, each with a table of its own.

UniTok (Ma et al., arXiv:2502.20321) cuts one encoder's features into chunks and takes the direction of each
for the nearest of a table of unit codes: `q_i = argmax_e <z_i / |z_i|, e>`. FQ (Bai et al., arXiv:2411.16681)
does the same with the features of one encoder head per chunk, and asks the codes of a position to be
orthogonal, `mean_(i<j) <q_i, q_j>^2`, so that the tables divide the work.
"""

from itertools import combinations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import full_precision
from vistok.quantizers.vector.choosing import choose, unit
from vistok.quantizers.vector.derived import Derived
from vistok.quantizers.vector.losses import entropies_of_choice, mean_square, pull_together
from vistok_protocol.errors import ErrorCode, VistokError


class MultiCodebookVQ(Quantizer):
    """Vector quantization of chunks of channels, with unit codes.

    Its calls are `quantize_map`, `ids_of_map` and `lookup`; ids are `(b *space k)`, with a single codebook
    `(b *space)`. Every chunk of a code has unit length.

    Args:
        dim: channels of the features, a multiple of `num_codebooks`.
        codebook_size: number of codes in each codebook.
        num_codebooks: chunks into which the channels are cut, neighbours together.
        commitment_weight: weight of the term that moves features, against the one that moves codes.
        entropy_weight: weight of the entropy of the tokens' own choices less that of the batch's, mean over
            codebooks; 0 leaves it out.
        entropy_temperature: of the softmaxes in that term.
        disentanglement_weight: weight of the mean squared cosine between the codes of a position; 0 leaves it
            out.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        num_codebooks: int,
        commitment_weight: float = 0.25,
        entropy_weight: float = 0.0,
        entropy_temperature: float = 0.01,
        disentanglement_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if num_codebooks < 1 or dim % num_codebooks:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "MultiCodebookVQ needs channels that divide into the codebooks, "
                f"got dim {dim} and {num_codebooks} codebooks",
            )
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.ids_per_token = num_codebooks
        self.codebook_axis = num_codebooks > 1
        self.commitment_weight = commitment_weight
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature
        self.disentanglement_weight = disentanglement_weight
        self.codebook = nn.Parameter(unit(torch.randn(num_codebooks, codebook_size, dim // num_codebooks)))
        self._unit_tables = Derived()

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            chunks = self._chunks(tokens)
            tables = self._tables()
            ids = self._choices(chunks, tables)
            codes = self._rows(ids, tables)
            ids = self._as_codebook_axis(ids)
            if not self.training:
                return Quantized(codes.flatten(2), ids, codes.new_zeros(()))
            loss = self._loss(chunks, codes, tables, mask)
            return Quantized(straight_through(chunks, codes).flatten(2), ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._as_codebook_axis(self._choices(self._chunks(tokens), self._tables()))

    def _codes(self, ids: Tensor) -> Tensor:
        return self._rows(self._as_chunk_axis(ids), self._tables()).flatten(2)

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        ids = self._as_chunk_axis(ids)
        return (self._rows(ids.clamp(min=0), self._tables()) * (ids >= 0).unsqueeze(-1)).flatten(2)

    def _tables(self) -> Tensor:
        """Give the unit codes `(m k c)`."""
        return self._unit_tables.of(lambda: (self.codebook,), lambda: (unit(self.codebook),))[0]

    def _chunks(self, tokens: Tensor) -> Tensor:
        """Give the directions `(b n m c)` of the chunks of tokens `(b n d)`."""
        return unit(tokens.unflatten(-1, (self.ids_per_token, -1)))

    def _choices(self, chunks: Tensor, tables: Tensor) -> Tensor:
        """Give the ids `(b n m)` of chunks `(b n m c)`."""
        pairs = zip(chunks.unbind(dim=2), tables, strict=True)
        return torch.stack([choose(of_table, table) for of_table, table in pairs], dim=-1)

    def _rows(self, ids: Tensor, tables: Tensor) -> Tensor:
        """Give the codes `(b n m c)` of ids `(b n m)`: one gather, of all tables as one."""
        first = torch.arange(self.ids_per_token, device=ids.device) * self.vocabulary_size
        return functional.embedding(ids + first, tables.flatten(0, 1))

    def _as_codebook_axis(self, ids: Tensor) -> Tensor:
        return ids if self.codebook_axis else ids.squeeze(-1)

    def _as_chunk_axis(self, ids: Tensor) -> Tensor:
        return ids if self.codebook_axis else ids.unsqueeze(-1)

    def _loss(self, chunks: Tensor, codes: Tensor, tables: Tensor, mask: Tensor | None) -> Tensor:
        loss = pull_together(
            chunks.flatten(2),
            codes.flatten(2),
            mask,
            codes_weight=1.0,
            features_weight=self.commitment_weight,
        )
        if self.entropy_weight:
            counted = chunks.flatten(0, 1) if mask is None else chunks[mask]
            pairs = zip(counted.unbind(dim=1), tables, strict=True)
            entropies = [entropies_of_choice(*pair, self.entropy_temperature) for pair in pairs]
            spread = sum(own - of_batch for own, of_batch in entropies) / self.ids_per_token
            loss = loss + self.entropy_weight * spread
        if self.disentanglement_weight and self.ids_per_token > 1:
            loss = loss + self.disentanglement_weight * _entanglement(chunks, codes, mask)
        return loss


def _entanglement(chunks: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
    """Give the mean squared cosine between the unit codes `(b n m c)` of a position, over pairs of codebooks.

    Gradients reach the codes and, straight through, the chunks.
    """
    moving = codes + (chunks - chunks.detach())
    pairs = combinations(moving.unbind(dim=2), 2)
    cosines = torch.stack([(one * other).sum(dim=-1) for one, other in pairs], dim=-1)
    return mean_square(cosines, mask)
