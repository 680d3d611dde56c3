"""GSQ: channels in groups, each group's direction one id from a shared table (Wang et al., arXiv:2412.02632).

The id is that of the largest cosine between a group of channels and a code. Codes start on the unit sphere;
the loss pulls them towards the groups' directions, and the output is the code as it stands in the table.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import full_precision
from vistok.quantizers.vector.choosing import choose, unit
from vistok.quantizers.vector.derived import Derived
from vistok.quantizers.vector.losses import pull_together
from vistok_protocol.errors import ErrorCode, VistokError


class GSQ(Quantizer):
    """Grouped spherical quantization.

    Its calls are `quantize_map`, `ids_of_map` and `lookup`; ids are `(b *space k)` with one id per group, and
    `(b *space)` with a single group.

    Args:
        dim: channels of the features, a multiple of `groups`.
        codebook_size: number of codes in the table that all groups share.
        groups: into which the channels are cut, neighbours together.
        commitment_weight: weight of the term that moves features, against the one that moves codes.
    """

    def __init__(
        self, dim: int, codebook_size: int, *, groups: int = 1, commitment_weight: float = 0.25
    ) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"GSQ needs channels that divide into the groups, got dim {dim} and {groups} groups",
            )
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.ids_per_token = groups
        self.codebook_axis = groups > 1
        self.commitment_weight = commitment_weight
        self.codebook = nn.Embedding(codebook_size, dim // groups)
        with torch.no_grad():
            self.codebook.weight.copy_(unit(torch.randn_like(self.codebook.weight)))
        self._unit_table = Derived()

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            directions = unit(self._grouped(tokens))
            ids = self._ids_of(directions)
            codes = self._codes(ids)
            if not self.training:
                return Quantized(codes, ids, codes.new_zeros(()))
            features = directions.flatten(2)
            loss = pull_together(
                features, codes, mask, codes_weight=1.0, features_weight=self.commitment_weight
            )
            return Quantized(straight_through(features, codes), ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._ids_of(unit(self._grouped(tokens)))

    def _codes(self, ids: Tensor) -> Tensor:
        return self._rows(ids).flatten(2)

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        rows = self._rows(ids.clamp(min=0))
        return (rows * (ids >= 0).unsqueeze(-1)).flatten(2)

    def _rows(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.codebook.weight).float()

    def _grouped(self, tokens: Tensor) -> Tensor:
        """Cut tokens `(b n d)` into `(b n k c)`, or leave them whole for a single group."""
        return tokens.unflatten(-1, (self.ids_per_token, -1)) if self.codebook_axis else tokens

    def _ids_of(self, directions: Tensor) -> Tensor:
        (table,) = self._unit_table.of(self.codebook.parameters, lambda: (unit(self.codebook.weight),))
        return choose(directions, table)
