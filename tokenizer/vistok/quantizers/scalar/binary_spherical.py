"""BSQ: features on the unit sphere, one bit for the sign of each channel (Zhao et al., arXiv:2406.07548).

With u = z / |z| and L bits a code is sign(u) / sqrt(L), again on the sphere, so that the error is bounded
whatever L. A zero counts as negative; the first channel is the highest bit. Under the softmax over all codes
the bits of a token are independent, each positive with probability sigmoid(4 t u / sqrt(L)), t the inverse
temperature: a token's entropy is a sum over bits. The batch's is summed over groups of bits, as if these were
independent, which no number of bits makes large.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import Constants, full_precision, projections
from vistok.quantizers.scalar.diversity import bit_entropies
from vistok_protocol.errors import ErrorCode, VistokError

_MOST_BITS = 62
# The batch's distribution over a group has an entry per code of the group.
_MOST_BITS_OF_A_GROUP = 24
# Keeps the gradient of a vanishing feature finite.
_SMALLEST_LENGTH = 1e-6


class BSQ(Quantizer):
    """Binary spherical quantization.

    Calling it gives `Quantized`. The loss is, with entropies H in nats,

        entropy_loss_weight / inv_temperature * (mean H(token) - diversity_gamma H(batch))
            + commitment_loss_weight * mean |u - q|^2

    Args:
        dim: channels of the features.
        bits: up to 62; where it differs from `dim`, linear layers project in and out. Default: `dim`.
        group_size: bits whose joint distribution over the batch is looked at; the last group has the rest.
        entropy_loss_weight: weight of the entropies; 0 leaves them out.
        diversity_gamma: weight of the batch's entropy against the tokens' own.
        commitment_loss_weight: weight of the squared distance on the sphere.
        inv_temperature: sharpness of the softmax over codes in the entropies.
    """

    def __init__(
        self,
        dim: int,
        bits: int | None = None,
        *,
        group_size: int = 9,
        entropy_loss_weight: float = 0.1,
        diversity_gamma: float = 1.0,
        commitment_loss_weight: float = 0.0,
        inv_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        bits = dim if bits is None else bits
        if not 1 <= bits <= _MOST_BITS or not 1 <= group_size <= _MOST_BITS_OF_A_GROUP:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"BSQ needs 1 to {_MOST_BITS} bits in groups of 1 to {_MOST_BITS_OF_A_GROUP}, "
                f"got {bits} in groups of {group_size}",
            )
        self.dim = dim
        self.bits = bits
        self.vocabulary_size = 2**bits
        self.group_size = group_size
        self.entropy_loss_weight = entropy_loss_weight
        self.diversity_gamma = diversity_gamma
        self.commitment_loss_weight = commitment_loss_weight
        self.inv_temperature = inv_temperature
        self.project_in, self.project_out = projections(dim, bits)
        self._places = Constants(values=2 ** torch.arange(bits - 1, -1, -1))

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            latents = self.project_in(tokens)
            positive = latents > 0
            codes = self._signs(positive)
            loss = codes.new_zeros(())
            if self.training:
                directions = functional.normalize(latents, dim=-1, eps=_SMALLEST_LENGTH)
                loss = self._loss(directions, codes, mask)
                codes = straight_through(directions, codes)
            return Quantized(self.project_out(codes), self._number(positive), loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._number(self.project_in(tokens) > 0)

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            return self.project_out(self._signs(ids.unsqueeze(-1) & self._places.values != 0))

    def _signs(self, positive: Tensor) -> Tensor:
        return (positive.float() * 2 - 1) * self.bits**-0.5

    def _number(self, positive: Tensor) -> Tensor:
        return (positive * self._places.values).sum(dim=-1)

    def _loss(self, directions: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Give the loss of `(b n l)` where the mask `(b n)` holds; zero where it never does."""
        if mask is not None:
            directions, codes = directions[mask], codes[mask]
        distances = (directions - codes).square().sum(dim=-1)
        loss = self.commitment_loss_weight * distances.sum() / max(distances.numel(), 1)
        if self.entropy_loss_weight:
            own, of_batch = self._entropies(directions.flatten(0, -2))
            entropy = (own - self.diversity_gamma * of_batch) / self.inv_temperature
            loss = loss + self.entropy_loss_weight * entropy
        return loss

    def _entropies(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Give the mean entropy of each of `(n l)` and the sum over groups of the batch's."""
        logits = 4 * self.inv_temperature * self.bits**-0.5 * directions
        groups = [bit_entropies(group.unsqueeze(1)) for group in logits.split(self.group_size, dim=1)]
        own, of_batch = zip(*groups, strict=True)
        return torch.stack(own).sum(), torch.stack(of_batch).sum()
