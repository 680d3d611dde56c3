"""FSQ: each latent channel is bounded and rounded to one of a few levels (Mentzer et al., arXiv:2309.15505).

There is no codebook to train. Small networks leave much of the vocabulary unused: an optional loss asks for
batches that spread over it. An id is the mixed-radix number of the rounded channels, the first channel least
significant. The formulas are in `bounds.py`.
"""

from collections.abc import Sequence
from math import log, prod
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from vistok.quantizers.base import Quantized
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.layouts import as_tokens
from vistok.quantizers.precision import full_precision, projections
from vistok.quantizers.scalar.base import LARGEST_VOCABULARY, ScalarQuantizer, indices_dtype, of_tokens
from vistok.quantizers.scalar.bounds import STRETCH, Bound, CentredBound, SymmetricBound
from vistok.quantizers.scalar.digits import MixedRadix
from vistok.quantizers.scalar.diversity import batch_entropy, check_vocabulary
from vistok_protocol.errors import ErrorCode, VistokError

# Of the soft levels in the diversity loss: a value half way between two levels belongs to both, a value on a
# level to that one for nine tenths.
_SHARPNESS = 3.0


class FSQOutput(NamedTuple):
    """What calling an `FSQ` gives."""

    codes: Tensor
    """As the input; before a projection out, values in [-1, 1]."""
    indices: Tensor | None
    """`(b *space)`, with several codebooks `(b *space c)`: int32, for vocabularies above 2**31 int64."""


class FSQ(ScalarQuantizer):
    """Finite scalar quantization.

    Args:
        levels: number of values of each latent channel, at least 3 each, with `preserve_symmetry` at least 2.
        dim: channels of the features; where it differs from `len(levels) * num_codebooks`, linear layers
            project in and out. Default: the same.
        num_codebooks: codebooks side by side, each with its own channels and its own id.
        keep_num_codebooks_dim: whether ids have a last axis for the codebooks. Default: with several.
        scale: unused, as in the field's library.
        allowed_dtypes, force_quantization_f32: taken for compatibility; ids are always decided in float32.
        channel_first: read three-axis inputs as `(b d n)`; inputs of four axes and more always are.
        projection_has_bias: of the linear layers.
        return_indices: without it calling gives no indices, and the vocabulary may be of any size.
        preserve_symmetry: levels from -1 to 1 at equal distances (arXiv:2411.19842).
        noise_dropout: in training, the share of code channels that are moved by uniform noise up to 0.5;
            needs `preserve_symmetry`.
        bound_hard_clamp: bound by a clamp instead of the hyperbolic tangent.
        orthogonal_rotation: turn the latent channels by a fixed random rotation (arXiv:2307.13304).
        diversity_weight: weight in the loss of the vocabulary's unused share of entropy, in nats.
    """

    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        num_codebooks: int = 1,
        keep_num_codebooks_dim: bool | None = None,
        scale: float | None = None,
        allowed_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64),
        channel_first: bool = False,
        projection_has_bias: bool = True,
        return_indices: bool = True,
        force_quantization_f32: bool = True,
        preserve_symmetry: bool = False,
        noise_dropout: float = 0.0,
        bound_hard_clamp: bool = False,
        orthogonal_rotation: bool = False,
        *,
        diversity_weight: float = 0.0,
    ) -> None:
        _check_levels(levels, smallest=2 if preserve_symmetry else 3, numbered=return_indices)
        super().__init__(
            dim=dim,
            codebook_dim=len(levels),
            vocabulary_size=prod(map(int, levels)),
            num_codebooks=num_codebooks,
            keep_num_codebooks_dim=keep_num_codebooks_dim,
            channel_first=True if channel_first else None,
            orthogonal_rotation=orthogonal_rotation,
        )
        if noise_dropout and not preserve_symmetry:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"expected preserve_symmetry with noise_dropout, got noise_dropout={noise_dropout} alone",
            )
        if diversity_weight:
            check_vocabulary(self.vocabulary_size, "diversity_weight")
        self.levels = tuple(map(int, levels))
        self.scale = scale
        self.allowed_dtypes = allowed_dtypes
        self.return_indices = return_indices
        self.force_quantization_f32 = force_quantization_f32
        self.preserve_symmetry = preserve_symmetry
        self.noise_dropout = noise_dropout
        self.bound_hard_clamp = bound_hard_clamp
        self.diversity_weight = diversity_weight
        self.project_in, self.project_out = projections(
            self.dim, self.effective_codebook_dim, projection_has_bias
        )
        kind = SymmetricBound if preserve_symmetry else CentredBound
        self._bound: Bound = kind(self.levels, bound_hard_clamp)
        self._radix = MixedRadix(self.levels) if self.vocabulary_size <= LARGEST_VOCABULARY else None

    @property
    def implicit_codebook(self) -> Tensor:
        """All latent codes `(k d)` float32 in the order of their ids, computed at each use."""
        return self._all_latent_codes(self._bound.lowest.device)

    def forward(self, z: Tensor) -> FSQOutput:
        """Quantize `(b *space d)`, `(b d *space)` or `(b d)`; any floating dtype, computed in float32."""
        if self.return_indices:
            codes, ids, _ = self._arranged(z, None, self.channel_first)
            return FSQOutput(codes.to(z.dtype), ids.to(indices_dtype(self.vocabulary_size)))
        tokens, layout = as_tokens(z, self.dim, self.channel_first)
        with full_precision(tokens.device):
            places, levels = self._levels_of(tokens)
            codes = self._codes_of(places, levels)
        return FSQOutput(layout.codes(codes).to(z.dtype), None)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Decode indices `(b n)` to `(b n d)`, and `(b *space)` with more axes to `(b d *space)`."""
        return self._looked_up(indices, self.channel_first)

    def indices_to_level_indices(self, indices: Tensor) -> Tensor:
        """Give the digits `(... d)` int64 of indices `(...)`: each channel's level, counted from 0."""
        return self._numbers.digits(indices.long())

    def codes_to_indices(self, zhat: Tensor) -> Tensor:
        """Give the indices `(...)` of latent codes `(... d)`, as they are before rotation and projection."""
        ids = self._numbers.ids(self._bound.digits_of_codes(zhat.float()))
        return ids.to(indices_dtype(self.vocabulary_size))

    def quantize(self, z: Tensor) -> Tensor:
        """Give the latent codes of latents `(... d)`, with gradients."""
        return self._bound(z.float())

    def bound(self, z: Tensor, eps: float = STRETCH, hard_clamp: bool = False) -> Tensor:
        """Give the latent codes of latents `(... d)` under a `CentredBound`."""
        return CentredBound(self.levels, hard_clamp, eps).to(z.device)(z.float())

    def symmetry_preserving_bound(self, z: Tensor, hard_clamp: bool = False) -> Tensor:
        """Give the latent codes of latents `(... d)` under a `SymmetricBound`."""
        return SymmetricBound(self.levels, hard_clamp).to(z.device)(z.float())

    def maybe_apply_noise(self, bounded_z: Tensor) -> Tensor:
        """In training, move the share `noise_dropout` of the codes' channels by noise, within [-1, 1]."""
        if not self.training or not self.noise_dropout:
            return bounded_z
        moved = torch.rand_like(bounded_z) < self.noise_dropout
        return (bounded_z + moved * (torch.rand_like(bounded_z) - 0.5)).clamp(-1, 1)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            places, levels = self._levels_of(tokens)
            ids = self._numbers.ids(self._bound.digits(levels))
            return Quantized(self._codes_of(places, levels), ids, self._loss(places, mask))

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._numbers.ids(self._bound.digits(self._levels_of(tokens)[1]))

    def _latent_codes(self, ids: Tensor) -> Tensor:
        return self._bound.code_of_digits(self._numbers.digits(ids))

    def _levels_of(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        places = self._bound.place(self._split(self.project_in(tokens)))
        return places, self._bound.level(places)

    def _codes_of(self, places: Tensor, levels: Tensor) -> Tensor:
        if places.requires_grad:
            levels = straight_through(places, levels)
        return self.project_out(self._joined(self.maybe_apply_noise(self._bound.code(levels))))

    def _loss(self, places: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training or not self.diversity_weight:
            return places.new_zeros(())
        from_lowest = of_tokens(places - self._bound.lowest, mask)
        digits = [
            _soft_digit(values, size)
            for values, size in zip(from_lowest.unbind(dim=-1), self.levels, strict=True)
        ]
        return self.diversity_weight * (log(self.vocabulary_size) - batch_entropy(digits))

    # Programs written for the field's library read these two.

    @property
    def _levels(self) -> Tensor:
        return self._numbers.sizes

    @property
    def _basis(self) -> Tensor:
        return self._numbers.basis

    @property
    def _numbers(self) -> MixedRadix:
        if self._radix is None:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"ids need levels whose product is at most 2**62, got {list(self.levels)}",
            )
        return self._radix


def _soft_digit(values: Tensor, size: int) -> Tensor:
    """Share each value `(n c)`, counted from the lowest level, among the levels near it: `(n c size)`."""
    levels = torch.arange(size, device=values.device)
    return (-_SHARPNESS * (values.unsqueeze(-1) - levels).square()).softmax(dim=-1)


def _check_levels(levels: Sequence[int], smallest: int, numbered: bool) -> None:
    whole = bool(levels) and all(isinstance(size, Integral) and size >= smallest for size in levels)
    if not whole or (numbered and prod(map(int, levels)) > LARGEST_VOCABULARY):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            "FSQ needs levels of at least 3 (of at least 2 with preserve_symmetry) whose product is at most "
            f"2**62 (any with return_indices=False), got {list(levels)}",
        )
