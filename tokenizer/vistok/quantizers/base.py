"""What every quantizer is: feature maps to ids, ids to codes.

A family writes two methods on plain token sequences, `_quantize` and `_codes`; the layouts (feature
maps of any rank, channels first or last) are handled here, once, for all of them.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vistok_protocol.errors import ErrorCode, VistokError


class Quantized(NamedTuple):
    """The result of quantizing a feature map."""

    codes: Tensor
    """`(b d *space)` float32: the quantized vectors; in training, gradients reach the features."""
    ids: Tensor
    """`(b *space)` int64, with several codebooks `(b *space k)`; each in [0, vocabulary_size)."""
    loss: Tensor
    """Scalar: what the family adds to the training loss; zero where it has nothing to train."""


class Quantizer(nn.Module, ABC):
    """Base of all families.

    Attributes:
        dim: channels of the feature maps that go in and of the codes that come out.
        vocabulary_size: number of values that one id can take.
        codebooks: ids per position; with more than one, ids have a last axis `k`.
    """

    dim: int
    vocabulary_size: int
    codebooks: int

    def quantize_map(self, features: Tensor) -> Quantized:
        """Quantize a feature map `(b d *space)`, in training with gradients and the family's loss."""
        tokens, space = self._as_tokens(features)
        codes, ids, loss = self._quantize(tokens)
        return Quantized(_as_map(codes, space), ids.long().unflatten(1, space), loss)

    def ids_of_map(self, features: Tensor) -> Tensor:
        """Give the ids `(b *space [k])` int64 of a feature map `(b d *space)`; no gradients."""
        with torch.no_grad():
            tokens, space = self._as_tokens(features)
            return self._ids(tokens).long().unflatten(1, space)

    def lookup(self, ids: Tensor) -> Tensor:
        """Give the codes `(b d *space)` float32 of ids `(b *space [k])`, exactly as quantizing gave them.

        The caller answers for the range: `VisualTokenizer.check_ids` is the guarded door.
        """
        last_space_axis = ids.ndim - (1 if self.codebooks > 1 else 0)
        space = ids.shape[1:last_space_axis]
        return _as_map(self._codes(ids.flatten(1, last_space_axis - 1)), space)

    @abstractmethod
    def _quantize(self, tokens: Tensor) -> Quantized:
        """Quantize tokens `(b n d)` into codes `(b n d)`, ids `(b n [k])` and a loss."""

    @abstractmethod
    def _codes(self, ids: Tensor) -> Tensor:
        """Give the codes `(b n d)` of ids `(b n [k])`."""

    def _ids(self, tokens: Tensor) -> Tensor:
        """Give the ids `(b n [k])` of tokens `(b n d)`; a family overrides it where codes cost extra."""
        return self._quantize(tokens).ids

    def _as_tokens(self, features: Tensor) -> tuple[Tensor, torch.Size]:
        if features.ndim < 3 or features.shape[1] != self.dim or not features.is_floating_point():
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected a floating-point feature map (b d ...) with d = {self.dim}, "
                f"got {str(features.dtype).removeprefix('torch.')} {tuple(features.shape)}",
            )
        return features.flatten(2).transpose(1, 2), features.shape[2:]

    def _flexible(self, x: Tensor, channel_first: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize `(b d *space)`, `(b *space d)` or `(b d)` and answer in the layout that came."""
        if x.ndim == 2:
            codes, ids, loss = self.quantize_map(x.unsqueeze(-1))
            return codes.squeeze(-1), ids.squeeze(1), loss
        if channel_first:
            return self.quantize_map(x)
        codes, ids, loss = self.quantize_map(x.movedim(-1, 1))
        return codes.movedim(1, -1), ids, loss


def _as_map(tokens: Tensor, space: torch.Size) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, space)
