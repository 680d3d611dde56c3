"""LFQ: the id is the signs of the latent channels, one bit each (Yu et al., MAGVIT-v2, arXiv:2310.05737).

The first channel is the highest bit; zero counts as negative. Training asks for bits that are certain for
each token and uniform over the batch, through an entropy term:

    loss = weight * (mean H(p) - gamma * H(mean p)) + commitment * |latents - sg(codes)|^2
    p = softmax over all codes of 2 * inv_temperature * <latents, code>

The bits of one token are independent under `p`, which lets both entropies be computed exactly without a row
per code (`diversity.py`). On the sphere this is BSQ (Zhao et al., arXiv:2406.07548).
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.layouts import Layout, as_tokens, check_mask
from vistok.quantizers.precision import Projection, full_precision
from vistok.quantizers.scalar.base import LARGEST_VOCABULARY, ScalarQuantizer
from vistok.quantizers.scalar.bit_loss import LossBreakdown, loss_terms, no_loss
from vistok.quantizers.scalar.cosine_projection import CosineProjection
from vistok.quantizers.scalar.digits import Numbering
from vistok.quantizers.scalar.diversity import check_vocabulary
from vistok_protocol.errors import ErrorCode, VistokError


class LFQOutput(NamedTuple):
    """What calling an `LFQ` gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """int64 `(b *space)`, with several codebooks `(b *space c)`."""
    entropy_aux_loss: Tensor
    """Scalar, zero in eval mode."""


class LFQ(ScalarQuantizer):
    """Lookup-free quantization.

    Args:
        dim: channels of the features. Default: the number of bits, of all codebooks.
        codebook_size: a power of two up to 2**62. Default: `2 ** dim`.
        entropy_loss_weight: weight of the entropy term; 0 leaves it out, which more than 24 bits need.
        commitment_loss_weight: weight of the squared distance between latents and codes.
        diversity_gamma: weight of the batch's entropy against the tokens' own.
        straight_through_activation: gradients in training pass through it. Default: the identity.
        num_codebooks: codebooks side by side, each with its own bits and its own id.
        keep_num_codebooks_dim: whether ids have a last axis for the codebooks. Default: with several.
        codebook_scale: absolute value of a code's channels, on the sphere the codes' length.
        frac_per_sample_entropy: share of the tokens, drawn anew each time, that the entropies look at.
        has_projections: project in and out. Default: where `dim` is not the number of bits.
        projection_has_bias: of the linear layers.
        soft_clamp_input_value: keep latents within it, softly; at least `codebook_scale`.
        cosine_sim_project_in: project in by cosines instead of inner products.
        cosine_sim_project_in_scale: the largest cosine. Default: `codebook_scale`.
        channel_first: arrangement of the features; by default channels come first from four axes on.
        experimental_softplus_entropy_loss: make the entropy term positive, by a softplus.
        entropy_loss_offset: what is added to the entropy term before the softplus.
        spherical: codes and latents lie on a sphere.
        force_quantization_f32: taken for compatibility; ids are always decided in float32.
        orthogonal_rotation: turn the latent channels by a fixed random rotation (arXiv:2307.13304).
        inv_temperature: sharpness of the softmax in the entropy term, for calls that give none.
        lowest_bit_first: the first channel is the lowest bit of an id, as in Open-MAGVIT2 and MaskBit.
    """

    mask: Tensor

    def __init__(
        self,
        *,
        dim: int | None = None,
        codebook_size: int | None = None,
        entropy_loss_weight: float = 0.1,
        commitment_loss_weight: float = 0.0,
        diversity_gamma: float = 1.0,
        straight_through_activation: Callable[[Tensor], Tensor] | None = None,
        num_codebooks: int = 1,
        keep_num_codebooks_dim: bool | None = None,
        codebook_scale: float = 1.0,
        frac_per_sample_entropy: float = 1.0,
        has_projections: bool | None = None,
        projection_has_bias: bool = True,
        soft_clamp_input_value: float | None = None,
        cosine_sim_project_in: bool = False,
        cosine_sim_project_in_scale: float | None = None,
        channel_first: bool | None = None,
        experimental_softplus_entropy_loss: bool = False,
        entropy_loss_offset: float = 5.0,
        spherical: bool = False,
        force_quantization_f32: bool = True,
        orthogonal_rotation: bool = False,
        inv_temperature: float = 100.0,
        lowest_bit_first: bool = False,
    ) -> None:
        size = _size(dim, codebook_size)
        bits = size.bit_length() - 1
        super().__init__(
            dim=dim,
            codebook_dim=bits,
            vocabulary_size=size,
            num_codebooks=num_codebooks,
            keep_num_codebooks_dim=keep_num_codebooks_dim,
            channel_first=channel_first,
            orthogonal_rotation=orthogonal_rotation,
        )
        if entropy_loss_weight:
            check_vocabulary(size, "entropy_loss_weight")
        _check_range("frac_per_sample_entropy", frac_per_sample_entropy, above=0, most=1)
        if soft_clamp_input_value is not None:
            _check_range("codebook_scale", codebook_scale, above=0, most=soft_clamp_input_value)
        self.entropy_loss_weight = entropy_loss_weight
        self.commitment_loss_weight = commitment_loss_weight
        self.diversity_gamma = diversity_gamma
        self.activation = straight_through_activation or nn.Identity()
        self.codebook_scale = codebook_scale
        self.frac_per_sample_entropy = frac_per_sample_entropy
        self.soft_clamp_input_value = soft_clamp_input_value
        self.experimental_softplus_entropy_loss = experimental_softplus_entropy_loss
        self.entropy_loss_offset = entropy_loss_offset
        self.spherical = spherical
        self.force_quantization_f32 = force_quantization_f32
        self.inv_temperature = inv_temperature
        if self._projects(has_projections):
            latent_dim = self.effective_codebook_dim
            scale = codebook_scale if cosine_sim_project_in_scale is None else cosine_sim_project_in_scale
            self.project_in = (
                CosineProjection(self.dim, latent_dim, scale)
                if cosine_sim_project_in
                else Projection(self.dim, latent_dim, projection_has_bias)
            )
            self.project_out = Projection(latent_dim, self.dim, projection_has_bias)
        # Absolute value of a code's channels.
        self._magnitude = codebook_scale / sqrt(bits) if spherical else codebook_scale
        places = range(bits) if lowest_bit_first else range(bits - 1, -1, -1)
        self._numbering = Numbering([2**place for place in places], size)
        # Persistent because the field's state dicts carry it.
        self.register_buffer("mask", 2 ** torch.tensor(places))

    @property
    def codebook(self) -> Tensor:
        """All codes `(k d)` float32 in the order of their ids, off the sphere; computed at each use."""
        ids = torch.arange(self.vocabulary_size, device=self.mask.device)
        return self.bits_to_codes((ids.unsqueeze(-1) & self.mask != 0).float())

    @property
    def dtype(self) -> torch.dtype:
        """What codes are in before they are cast to the features' dtype."""
        return torch.float32

    def forward(
        self,
        x: Tensor,
        inv_temperature: float | None = None,
        return_loss_breakdown: bool = False,
        mask: Tensor | None = None,
    ) -> LFQOutput | tuple[LFQOutput, LossBreakdown]:
        """Quantize `(b *space d)`, `(b d *space)` or `(b d)`; any floating dtype, computed in float32.

        Args:
            inv_temperature: sharpness of the softmax in the entropy term. Default: the constructor's.
            return_loss_breakdown: give also the terms of the loss, entropies even where their weight is 0.
            mask: bool `(b)`, `(b n)` or `(b *space)`: which tokens the loss looks at. Unlike that of
                `quantize_map` it leaves indices and codes alone.
        """
        tokens, layout = as_tokens(x, self.dim, self.channel_first)
        codes, ids, terms = self._quantized(
            tokens,
            None if mask is None else _mask_of_tokens(mask, layout, tokens.shape[1]),
            self.inv_temperature if inv_temperature is None else inv_temperature,
            entropies=bool(self.entropy_loss_weight) or return_loss_breakdown,
        )
        output = LFQOutput(layout.codes(codes).to(x.dtype), layout.ids(ids), self._weighted(terms))
        return (output, terms) if return_loss_breakdown else output

    def indices_to_codes(self, indices: Tensor, project_out: bool = True) -> Tensor:
        """Decode indices `(b n)` to `(b n d)`, and `(b *space)` with more axes to `(b d *space)`.

        Without `project_out` the channels are the latent ones.
        """
        if project_out:
            return self._looked_up(indices, self.channel_first)
        return self._looked_up_latents(indices, self.channel_first)

    def bits_to_codes(self, bits: Tensor) -> Tensor:
        """Give `-codebook_scale` for 0 and `codebook_scale` for 1."""
        return bits * self.codebook_scale * 2 - self.codebook_scale

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        codes, ids, terms = self._quantized(
            tokens, mask, self.inv_temperature, entropies=bool(self.entropy_loss_weight)
        )
        return Quantized(codes, ids, self._weighted(terms))

    def _quantized(
        self, tokens: Tensor, mask: Tensor | None, inv_temperature: float, entropies: bool
    ) -> tuple[Tensor, Tensor, LossBreakdown]:
        with full_precision(tokens.device):
            latents = self._latents(tokens)
            bits = _bits(latents)
            codes = self._signs(bits)
            terms = no_loss(codes)
            if self.training or latents.requires_grad:
                latents = self._on_sphere(latents)
                if self.training:
                    terms = loss_terms(
                        latents,
                        codes,
                        mask,
                        commitment=bool(self.commitment_loss_weight),
                        sharpness=self._sharpness(inv_temperature) if entropies else None,
                        share=self.frac_per_sample_entropy,
                    )
                codes = straight_through(self.activation(latents), codes)
            return self.project_out(self._joined(codes)), self._numbering.ids(bits), terms

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._numbering.ids(_bits(self._latents(tokens)))

    def _latent_codes(self, ids: Tensor) -> Tensor:
        return self._signs((ids.unsqueeze(-1) & self.mask != 0).float())

    def _latents(self, tokens: Tensor) -> Tensor:
        latents = self.project_in(tokens)
        if self.soft_clamp_input_value is not None:
            latents = torch.tanh(latents / self.soft_clamp_input_value) * self.soft_clamp_input_value
        return self._split(latents)

    def _on_sphere(self, latents: Tensor) -> Tensor:
        return functional.normalize(latents, dim=-1) * self.codebook_scale if self.spherical else latents

    def _signs(self, bits: Tensor) -> Tensor:
        """Give the values of bits, 0 or 1 in float32."""
        return (bits * (2 * self._magnitude)).sub_(self._magnitude)

    def _sharpness(self, inv_temperature: float) -> float:
        """Give the factor from a latent to its bit's log odds: twice the inner products' difference."""
        check_vocabulary(self.vocabulary_size, "entropy_loss_weight")
        return 4 * inv_temperature * self._magnitude

    def _weighted(self, terms: LossBreakdown) -> Tensor:
        if not self.training:
            return terms.commitment
        entropy = terms.per_sample_entropy - self.diversity_gamma * terms.batch_entropy
        if self.experimental_softplus_entropy_loss:
            entropy = functional.softplus(entropy + self.entropy_loss_offset)
        return self.entropy_loss_weight * entropy + self.commitment_loss_weight * terms.commitment

    def _projects(self, wanted: bool | None) -> bool:
        needed = self.dim != self.effective_codebook_dim
        if needed and wanted is False:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"LFQ without projections needs dim = {self.effective_codebook_dim} bits, got {self.dim}",
            )
        return needed if wanted is None else wanted


def _size(dim: int | None, codebook_size: int | None) -> int:
    if dim is None and codebook_size is None:
        raise VistokError(ErrorCode.INVALID_REQUEST, "LFQ needs dim, codebook_size or both, got neither")
    size = 2**dim if codebook_size is None and dim is not None else codebook_size
    assert size is not None
    if size < 2 or size > LARGEST_VOCABULARY or int(size) & (int(size) - 1):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"LFQ needs a power of two from 2 to 2**62 as codebook_size, got {size}",
        )
    return int(size)


def _bits(latents: Tensor) -> Tensor:
    """Give 1 where latents are positive, else 0, in float32; several times faster than a comparison."""
    return latents.detach().sign().clamp_(min=0)


def _check_range(name: str, value: float, above: float, most: float) -> None:
    if not above < value <= most:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"LFQ needs {name} above {above} and at most {most}, got {value}"
        )


def _mask_of_tokens(mask: Tensor, layout: Layout, tokens: int) -> Tensor:
    """Give a mask of whole samples `(b)`, of tokens `(b n)` or of positions `(b *space)` as `(b n)` bool."""
    if mask.dtype == torch.bool and mask.shape == (layout.batch,):
        return mask.unsqueeze(1).expand(-1, tokens)
    if mask.dtype == torch.bool and mask.shape == (layout.batch, tokens):
        return mask
    return check_mask(mask, layout)
