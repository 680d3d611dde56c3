"""Latent quantization: each latent channel takes the nearest of its own few values (arXiv:2305.18378).

An id is the mixed-radix number of the values' positions, the first channel least significant. In training

    loss = quantization_weight * |sg(features) - out|^2 + commitment_weight * |features - sg(out)|^2

(means), with `out` the codes after the projection out. The first term moves values and projections towards
the features, the second the features towards the codes.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.optim import Optimizer

from vistok.quantizers.base import Quantized
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import full_precision, projections
from vistok.quantizers.processes import mean_over_ranks
from vistok.quantizers.scalar.base import LARGEST_VOCABULARY, ScalarQuantizer, indices_dtype
from vistok.quantizers.scalar.digits import MixedRadix
from vistok.quantizers.scalar.value_table import FixedValues, Places, evenly_spaced
from vistok_protocol.errors import ErrorCode, VistokError


class LatentQuantizeOutput(NamedTuple):
    """What calling a `LatentQuantize` gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """`(b *space)`, with several codebooks `(b *space c)`: int32, for vocabularies above 2**31 int64."""
    loss: Tensor
    """Scalar, zero in eval mode."""


class MissingWidth(VistokError, RuntimeError):
    """One number of levels came without a number of channels. The field's library raises a RuntimeError."""


class LatentQuantize(ScalarQuantizer):
    """Quantization of each channel to values of its own.

    Features are `(b dim *space)`. With three axes they may also be sequences `(b n dim)`, and are read so
    where the last axis has the size `dim` and axis 1 has not: of `(b dim dim)`, the channels come first.
    Indices do not tell how features lay, and are decoded to `(b dim *space)`. Give `channel_first` to settle
    both.

    Args:
        levels: number of values, at least 2, of each latent channel, or one for all `codebook_dim` channels.
        dim: channels of the features; where it differs from `len(levels) * num_codebooks`, linear layers
            project in and out.
        commitment_loss_weight: weight of the term that moves features to their codes.
        quantization_loss_weight: weight of the term that moves values and projections to the features.
        num_codebooks: codebooks side by side, each with its own channels and its own id; they share values.
        codebook_dim: latent channels of a codebook, where `levels` is one number.
        keep_num_codebooks_dim: whether ids have a last axis for the codebooks; with several always.
        optimize_values: values are parameters.
        in_place_codebook_optimizer: makes an optimizer of the values it is given. In training, each call then
            takes a step on the quantization term before it quantizes; the returned loss leaves values alone.
        channel_first: whether features are `(b dim *space)` or `(b *space dim)`. Default: see above.
    """

    values_per_latent: nn.ParameterList | FixedValues

    def __init__(
        self,
        levels: Sequence[int] | int,
        dim: int,
        commitment_loss_weight: float | None = 0.1,
        quantization_loss_weight: float | None = 0.1,
        num_codebooks: int = 1,
        codebook_dim: int = -1,
        keep_num_codebooks_dim: bool | None = None,
        optimize_values: bool | None = True,
        in_place_codebook_optimizer: Callable[[nn.ParameterList], Optimizer] | None = None,
        *,
        channel_first: bool | None = None,
    ) -> None:
        per_channel = _levels(levels, codebook_dim)
        super().__init__(
            dim=dim,
            codebook_dim=len(per_channel),
            vocabulary_size=prod(per_channel),
            num_codebooks=num_codebooks,
            keep_num_codebooks_dim=keep_num_codebooks_dim or None,
            channel_first=channel_first,
        )
        if in_place_codebook_optimizer is not None and not optimize_values:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "expected optimize_values with in_place_codebook_optimizer, got it without",
            )
        self.levels = per_channel
        self.commitment_loss_weight = commitment_loss_weight or 0.0
        self.quantization_loss_weight = quantization_loss_weight or 0.0
        self.project_in, self.project_out = projections(self.dim, self.effective_codebook_dim)
        self._radix = MixedRadix(self.levels)
        self._places = Places(self.levels)
        values = [evenly_spaced(size) for size in self.levels]
        self.values_per_latent = nn.ParameterList(values) if optimize_values else FixedValues(values)
        self.in_place_codebook_optimizer: Optimizer | None = None
        if in_place_codebook_optimizer is not None and isinstance(self.values_per_latent, nn.ParameterList):
            self.in_place_codebook_optimizer = in_place_codebook_optimizer(self.values_per_latent)

    @property
    def implicit_codebook(self) -> Tensor:
        """All latent codes `(k d)` float32 in the order of their ids, with the values as they are now."""
        return self._all_latent_codes(self._radix.sizes.device)

    def forward(self, z: Tensor) -> LatentQuantizeOutput:
        """Quantize features of any floating dtype, in float32; arrangements as above."""
        codes, ids, loss = self._arranged(z, None, self._channels_lead(z))
        return LatentQuantizeOutput(codes.to(z.dtype), ids.to(indices_dtype(self.vocabulary_size)), loss)

    def indices_to_codes(self, indices: Tensor, project_out: bool = True) -> Tensor:
        """Decode indices `(b *space)` to `(b dim *space)`, or without `project_out` to latent channels."""
        channel_first = self.channel_first is not False
        if project_out:
            return self._looked_up(indices, channel_first)
        return self._looked_up_latents(indices, channel_first)

    def codes_to_indices(self, zhat: Tensor) -> Tensor:
        """Give the indices `(...)` of latent codes `(... d)`."""
        return self._radix.ids(self._digits(zhat.float())).to(indices_dtype(self.vocabulary_size))

    def quantize(self, z: Tensor) -> Tensor:
        """Give the latent codes of latents `(... d)`, with gradients straight through."""
        z = z.float()
        return straight_through(z, self._places.values(self._digits(z), self._all_values()))

    def quantization_loss(self, z: Tensor, zhat: Tensor, reduce: str = "mean") -> Tensor:
        """Give the squared distance through which gradients reach the codes `zhat` alone."""
        return functional.mse_loss(zhat, z.detach(), reduction=reduce)

    def commitment_loss(self, z: Tensor, zhat: Tensor, reduce: str = "mean") -> Tensor:
        """Give the squared distance through which gradients reach the features `z` alone."""
        return functional.mse_loss(z, zhat.detach(), reduction=reduce)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            latents = self._split(self.project_in(tokens))
            if self.training and self.in_place_codebook_optimizer is not None:
                self._improve_values(self.in_place_codebook_optimizer, tokens, mask)
            digits = self._digits(latents)
            codes = self._places.values(digits, self._all_values().detach())
            if latents.requires_grad:
                codes = straight_through(latents, codes)
            out = self.project_out(self._joined(codes))
            loss = self._loss(tokens.float(), out, digits, mask) if self.training else out.new_zeros(())
            return Quantized(out, self._radix.ids(digits), loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._radix.ids(self._digits(self._split(self.project_in(tokens))))

    def _latent_codes(self, ids: Tensor) -> Tensor:
        return self._places.values(self._radix.digits(ids), self._all_values())

    def _all_values(self) -> Tensor:
        """Give all channels' values one after the other, `(sum of levels)` float32."""
        return torch.cat([values.float() for values in self.values_per_latent])

    def _digits(self, latents: Tensor) -> Tensor:
        return self._places.nearest(latents.detach(), self._all_values().detach())

    def _loss(self, tokens: Tensor, out: Tensor, digits: Tensor, mask: Tensor | None) -> Tensor:
        loss = out.new_zeros(())
        if self.commitment_loss_weight:
            commitment = self.commitment_loss(_kept(tokens, mask), _kept(out, mask), "sum")
            loss = loss + self.commitment_loss_weight * commitment
        if self.quantization_loss_weight:
            values = self._all_values()
            trained = values if self.in_place_codebook_optimizer is None else values.detach()
            out = self._round_trip(tokens, digits, trained)
            quantization = self.quantization_loss(_kept(tokens, mask), _kept(out, mask), "sum")
            loss = loss + self.quantization_loss_weight * quantization
        return loss / max(_kept(tokens, mask).numel(), 1)

    def _round_trip(self, tokens: Tensor, digits: Tensor, values: Tensor) -> Tensor:
        """Give the codes `(b n dim)` with gradients for values and projections, but none for the features."""
        latents = self._split(self.project_in(tokens.detach()))
        codes = self._places.values(digits, values)
        return self.project_out(self._joined(codes + (latents - latents.detach())))

    def _improve_values(self, optimizer: Optimizer, tokens: Tensor, mask: Tensor | None) -> None:
        """Take one step of the values, the same on all ranks, on the quantization term without its weight."""
        with torch.no_grad():
            digits = self._digits(self._split(self.project_in(tokens)))
        parameters = list(self.values_per_latent)
        with torch.enable_grad():
            out = self.project_out(self._joined(self._places.values(digits, self._all_values())))
            loss = self.quantization_loss(_kept(tokens.float(), mask), _kept(out, mask), "sum")
            gradients = torch.autograd.grad(loss / max(_kept(out, mask).numel(), 1), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = mean_over_ranks(gradient)
        optimizer.step()
        optimizer.zero_grad()

    def _channels_lead(self, features: Tensor) -> bool:
        if self.channel_first is not None:
            return self.channel_first
        return features.ndim != 3 or features.shape[1] == self.dim or features.shape[2] != self.dim


def _kept(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values[mask]


def _levels(levels: Sequence[int] | int, codebook_dim: int) -> tuple[int, ...]:
    if isinstance(levels, int):
        if codebook_dim < 1:
            raise MissingWidth(
                ErrorCode.INVALID_REQUEST,
                f"expected a positive codebook_dim with one number of levels, got {codebook_dim}",
            )
        levels = [levels] * codebook_dim
    whole = bool(levels) and all(isinstance(size, int) and size >= 2 for size in levels)
    if not whole or prod(levels) > LARGEST_VOCABULARY:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"LatentQuantize needs levels of at least 2 whose product is at most 2**62, got {list(levels)}",
        )
    if codebook_dim > 0 and codebook_dim != len(levels):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected codebook_dim = {len(levels)}, the number of levels, got {codebook_dim}",
        )
    return tuple(levels)
