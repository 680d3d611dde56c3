"""What every quantizer is: features to ids, ids to codes.

A family writes two methods on plain tokens `(b n d)`, `_quantize` and `_codes`; arrangements of the
features, masks, ids that are absent or out of range are handled here, once, for all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vistok.quantizers.layouts import Layout, as_tokens, check_mask
from vistok_protocol.errors import ErrorCode, VistokError

ABSENT = -1
"""The id of a masked position, or of a codebook that was left out; it decodes to zeros."""


class Quantized(NamedTuple):
    """The result of quantizing features; axes as they came, `*space` without the channels."""

    codes: Tensor
    """Of the features' shape: the quantized vectors; in training, gradients reach the features."""
    ids: Tensor
    """`(b *space)` int64, with several codebooks `(b *space k)`; each in [0, vocabulary_size) or absent."""
    loss: Tensor
    """Scalar: what the family adds to the training loss; zero in eval mode."""


class Quantizer(nn.Module, ABC):
    """Base of all families.

    Attributes:
        dim: channels of the features that go in and of the codes that come out.
        vocabulary_size: number of values that one id can take.
        ids_per_token: `k`, the number of codebooks for most families.
        codebook_axis: whether ids have a last axis `k`; by default with several ids per token.
        channel_first: arrangement that calls expect; None: channels come first from four axes on.
    """

    dim: int
    vocabulary_size: int
    ids_per_token: int = 1
    codebook_axis: bool = False
    channel_first: bool | None = None

    def _call(self, features: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize features `(b *space d)`, `(b d *space)` or `(b d)`; codes come out in their dtype.

        Args:
            features: floating, in the arrangement that `channel_first` says.
            mask: as in `quantize_map`.
        """
        result = self._arranged(features, mask, self.channel_first)
        return result._replace(codes=result.codes.to(features.dtype))

    # What calling a family gives that has no other surface to keep; declared as loosely as torch does it, so
    # that the others may have arguments and results of their own.
    forward: Callable[..., Any] = _call

    def quantize_map(self, features: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize a feature map `(b d *space)`, in training with gradients and the family's loss.

        Args:
            features: floating; codes come out in float32.
            mask: `(b *space)` bool; where False, ids are absent, codes are zero, and training looks away.
        """
        return self._arranged(features, mask, channel_first=True)

    def ids_of_map(self, features: Tensor) -> Tensor:
        """Give the ids `(b *space [k])` int64 of a feature map `(b d *space)`; no gradients."""
        with torch.no_grad():
            tokens, layout = as_tokens(features, self.dim, channel_first=True)
            return layout.ids(self._ids(tokens))

    def lookup(self, ids: Tensor) -> Tensor:
        """Give the codes `(b d *space)` float32 of ids `(b *space [k])`, exactly as quantizing gave them."""
        return self._looked_up(ids, channel_first=True)

    @abstractmethod
    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        """Quantize tokens `(b n d)` into float32 codes `(b n d)`, int64 ids `(b n [k])` and a loss.

        A mask `(b n)` concerns the loss and what is learned alone; ids and codes are masked by the base.
        """

    @abstractmethod
    def _codes(self, ids: Tensor) -> Tensor:
        """Give the float32 codes `(b n d)` of ids `(b n [k])`, all within range."""

    def _ids(self, tokens: Tensor) -> Tensor:
        """Give the ids `(b n [k])` of tokens `(b n d)`; a family overrides it where codes cost extra."""
        return self._quantize(tokens, None).ids

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        """Give the codes `(b n d)` of ids `(b n [k])` of which some are absent.

        With several codebooks a position is zero where all of its ids are absent; a family overrides it
        where each codebook's part stands alone.
        """
        present = ids >= 0
        if self.codebook_axis:
            present = present.any(dim=-1)
        return self._codes(ids.clamp(min=0)).masked_fill(~present.unsqueeze(-1), 0)

    def _arranged(self, features: Tensor, mask: Tensor | None, channel_first: bool | None) -> Quantized:
        tokens, layout = as_tokens(features, self.dim, channel_first)
        if mask is not None:
            mask = check_mask(mask, layout)
        codes, ids, loss = self._quantize(tokens, mask)
        if mask is not None:
            codes, ids = masked(codes, ids, mask)
        return Quantized(layout.codes(codes), layout.ids(ids), loss)

    def _looked_up(self, ids: Tensor, channel_first: bool | None) -> Tensor:
        """Give the codes of ids `(b *space [k])` in the arrangement that features with these ids had."""
        some_absent = self._check_ids(ids)
        space = ids.shape[1 : ids.ndim - 1 if self.codebook_axis else ids.ndim]
        if channel_first is None:
            channel_first = len(space) > 1
        flat = ids.reshape(ids.shape[0], -1, *ids.shape[1 + len(space) :]).long()
        codes = self._codes_or_zeros(flat) if some_absent else self._codes(flat)
        return Layout(ids.shape[0], space, channel_first).codes(codes)

    def _check_ids(self, ids: Tensor) -> bool:
        """Refuse ids that mean nothing here; say whether some are absent."""
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool or ids.ndim < 1:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                "expected whole numbers as ids, "
                f"got {str(ids.dtype).removeprefix('torch.')} {tuple(ids.shape)}",
            )
        if self.codebook_axis and (ids.ndim < 2 or ids.shape[-1] != self.ids_per_token):
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected ids (b ... k) with k = {self.ids_per_token} codebooks, got {tuple(ids.shape)}",
            )
        if torch.compiler.is_compiling() or ids.numel() == 0:
            return True
        smallest, largest = (int(extreme) for extreme in ids.aminmax())
        if smallest < ABSENT or largest >= self.vocabulary_size:
            raise VistokError(
                ErrorCode.ID_OUT_OF_RANGE,
                f"expected ids from 0 to {self.vocabulary_size - 1}, or {ABSENT} for none, "
                f"got {smallest if smallest < ABSENT else largest}",
            )
        return smallest == ABSENT


def masked(codes: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Make codes `(b n d)` zero and ids `(b n [k])` absent where the mask `(b n)` is False."""
    wide = mask.unsqueeze(-1)
    return codes.masked_fill(~wide, 0), ids.masked_fill(~(wide if ids.ndim > 2 else mask), ABSENT)
