"""Residual quantization from coarse to fine: each scale describes what the coarser ones left over.

    r_0 = features      c_s = Q(area(r_s, h_s x w_s))      r_{s+1} = r_s - up_s(c_s)
    codes = up_0(c_0) + up_1(c_1) + ...

The families, in files of their own, say what `Q` and `up_s` are. Ids are one sequence `(b n)`: all positions
of the coarsest scale row by row, then those of the next, `n` being the scales' areas added up. Features
must be of the last scale's size. Letters: `s` scales, `b d h w` maps.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.layouts import as_tokens
from vistok.quantizers.precision import Float32, full_precision
from vistok_protocol.errors import ErrorCode, VistokError


class MultiScaleOutput(NamedTuple):
    """What calling a multi-scale quantizer gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """`(b n)` int64, coarse scales first."""
    loss: Tensor
    """Scalar, zero in eval mode."""


class MultiScale(Quantizer):
    """Base of the multi-scale families: the passes through the scales.

    Args:
        dim: channels of the features.
        scales: height and width of each scale, or one number for both; the last is the features'.
    """

    def __init__(self, dim: int, scales: Sequence[int | tuple[int, int]]) -> None:
        super().__init__()
        self.dim = dim
        self.channel_first = True
        self.scales = tuple((scale, scale) if isinstance(scale, int) else tuple(scale) for scale in scales)
        if not self.scales or any(len(scale) != 2 or min(scale) < 1 for scale in self.scales):
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"expected scales as sizes of at least 1, or pairs of these, got {list(scales)}",
            )
        self.areas = [height * width for height, width in self.scales]
        self.project_in: nn.Module = Float32()
        self.project_out: nn.Module = Float32()

    @abstractmethod
    def _quantize_scale(self, tokens: Tensor) -> Quantized:
        """Quantize the tokens `(b n d)` of one scale."""

    @abstractmethod
    def _codes_of_scale(self, ids: Tensor) -> Tensor:
        """Give the codes `(b n d)` of ids `(b n)` of one scale."""

    @abstractmethod
    def _enlarged(self, index: int, codes: Tensor) -> Tensor:
        """Give the codes `(b d h_s w_s)` of a scale in the features' size."""

    def forward(self, x: Tensor) -> MultiScaleOutput:
        """Quantize `(b d h w)` of any floating dtype; computed in float32."""
        codes, ids, loss = self.quantize_map(x)
        return MultiScaleOutput(codes.to(x.dtype), ids, loss)

    def quantize_map(self, features: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize `(b d h w)` of the last scale's size into codes of this shape and ids `(b n)`; no mask."""
        if mask is not None:
            raise VistokError(ErrorCode.INVALID_REQUEST, "multi-scale quantizers take no mask, got one")
        tokens, layout = as_tokens(features, self.dim, channel_first=True)
        if tuple(layout.space) != self.scales[-1]:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected features (b d h w) with h, w = {self.scales[-1]}, got {tuple(features.shape)}",
            )
        codes, ids, loss = self._quantize(tokens, None)
        return Quantized(layout.codes(codes), ids, loss)

    def ids_of_map(self, features: Tensor) -> Tensor:
        """Give the ids `(b n)` int64 of features `(b d h w)` of the last scale's size; no gradients."""
        with torch.no_grad():
            return self.quantize_map(features).ids

    def lookup(self, ids: Tensor) -> Tensor:
        """Give the codes `(b d h w)` float32 of ids `(b n)`, or of those of the first scales alone.

        The code of an absent id is zero, and a scale that is absent as a whole adds nothing.
        """
        allowed = [sum(self.areas[: count + 1]) for count in range(len(self.areas))]
        self._check_ids(ids)
        if ids.ndim != 2 or ids.shape[1] not in allowed:
            raise VistokError(
                ErrorCode.INVALID_SHAPE, f"expected ids (b n) with n one of {allowed}, got {tuple(ids.shape)}"
            )
        codes = self._codes(ids.long())
        return codes.transpose(1, 2).unflatten(2, self.scales[-1])

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            target = self._map(self.project_in(tokens), self.scales[-1])
            residual, total = target, torch.zeros_like(target)
            columns, losses = [], []
            for index, scale in enumerate(self.scales):
                codes, ids, loss = self._quantize_scale(
                    self._reduced(residual, scale).flatten(2).transpose(1, 2)
                )
                enlarged = self._enlarged(index, self._map(codes, scale))
                residual, total = residual - enlarged, total + enlarged
                columns.append(ids)
                losses.append(self._loss_of_scale(loss, target, total))
            codes = self._with_gradients(target, total).flatten(2).transpose(1, 2)
            return Quantized(self.project_out(codes), torch.cat(columns, dim=1), torch.stack(losses).mean())

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            total = ids.new_zeros(ids.shape[0], 1, *self.scales[-1], dtype=torch.float32)
            start = 0
            for index, area in enumerate(self.areas):
                of_scale = ids[:, start : start + area]
                if of_scale.shape[1]:
                    total = total + self._present_codes(index, of_scale)
                start += area
            present = (ids >= 0).any(dim=1)[:, None, None]
            return self.project_out(total.flatten(2).transpose(1, 2)) * present

    def _present_codes(self, index: int, ids: Tensor) -> Tensor:
        """Give what one scale adds, `(b d h w)`, where some of its ids `(b n)` may be absent."""
        present = ids >= 0
        codes = self._codes_of_scale(ids.clamp(min=0)) * present.unsqueeze(-1)
        enlarged = self._enlarged(index, self._map(codes, self.scales[index]))
        return enlarged * present.any(dim=1)[:, None, None, None]

    def _loss_of_scale(self, loss: Tensor, target: Tensor, total: Tensor) -> Tensor:
        """Give a scale's loss, from its own and the sum of all scales so far."""
        return loss

    def _with_gradients(self, target: Tensor, total: Tensor) -> Tensor:
        """Give the summed codes with gradients to the features."""
        return total

    def _reduced(self, residual: Tensor, scale: tuple[int, ...]) -> Tensor:
        if scale == self.scales[-1]:
            return residual
        return functional.interpolate(residual, size=scale, mode="area")

    @staticmethod
    def _map(tokens: Tensor, scale: tuple[int, ...]) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, scale)
