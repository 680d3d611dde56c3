"""What scalar families share: each latent channel is quantized on its own, an id numbers all of them.

    features (b n dim) -> project_in -> split into codebooks (b n [c] d) -> rotate -> quantize each channel
    -> rotate back -> join (b n (c d)) -> project_out -> codes (b n dim)

A family says how a channel is quantized and how its digits make an id.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vistok.quantizers.base import Quantizer
from vistok.quantizers.precision import Float32, full_precision
from vistok.quantizers.scalar.rotation import random_rotation, rotated, rotated_back
from vistok_protocol.errors import ErrorCode, VistokError

LARGEST_VOCABULARY = 2**62
"""Ids are int64."""


class ScalarQuantizer(Quantizer):
    """Base of the scalar families.

    Args:
        dim: channels of the features; None: `codebook_dim * num_codebooks`.
        codebook_dim: latent channels `d` of one codebook.
        vocabulary_size: number of ids of one codebook.
        num_codebooks: codebooks `c` side by side, each with its own latent channels and its own id.
        keep_num_codebooks_dim: whether ids have a last axis `c`; None: with several codebooks.
        channel_first: see `Quantizer`.
        orthogonal_rotation: turn the latent channels of each codebook by a fixed random rotation.

    Attributes:
        project_in: from `dim` channels to `effective_codebook_dim`; until a family replaces it, the identity.
        project_out: the way back.
    """

    project_in: nn.Module
    project_out: nn.Module
    orthogonal_rot: Tensor | None

    def __init__(
        self,
        *,
        dim: int | None,
        codebook_dim: int,
        vocabulary_size: int,
        num_codebooks: int,
        keep_num_codebooks_dim: bool | None,
        channel_first: bool | None,
        orthogonal_rotation: bool = False,
    ) -> None:
        super().__init__()
        if num_codebooks < 1 or (num_codebooks > 1 and keep_num_codebooks_dim is False):
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "expected at least one codebook, and with several of them keep_num_codebooks_dim, "
                f"got num_codebooks={num_codebooks}, keep_num_codebooks_dim={keep_num_codebooks_dim}",
            )
        self.codebook_dim = codebook_dim
        self.vocabulary_size = vocabulary_size
        self.ids_per_token = num_codebooks
        self.codebook_axis = num_codebooks > 1 if keep_num_codebooks_dim is None else keep_num_codebooks_dim
        self.channel_first = channel_first
        self.dim = self.effective_codebook_dim if dim is None else dim
        self.project_in, self.project_out = Float32(), Float32()
        self.register_buffer("orthogonal_rot", random_rotation(codebook_dim) if orthogonal_rotation else None)

    @property
    def codebook_size(self) -> int:
        """Number of ids of one codebook."""
        return self.vocabulary_size

    @property
    def num_codebooks(self) -> int:
        """Ids per position."""
        return self.ids_per_token

    @property
    def keep_num_codebooks_dim(self) -> bool:
        """Whether ids have a last axis `c`."""
        return self.codebook_axis

    @property
    def effective_codebook_dim(self) -> int:
        """Latent channels of all codebooks together."""
        return self.codebook_dim * self.ids_per_token

    @property
    def has_projections(self) -> bool:
        """Whether there are layers between features and latent channels."""
        return not isinstance(self.project_in, Float32)

    @property
    def orthogonal_rotation(self) -> bool:
        """Whether latent channels are rotated."""
        return self.orthogonal_rot is not None

    @abstractmethod
    def _latent_codes(self, ids: Tensor) -> Tensor:
        """Give the latent codes `(... d)` float32, not rotated back, of ids `(...)` within range."""

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            return self.project_out(self._joined(self._latent_codes(ids)))

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        present = ids >= 0
        some = present.any(dim=-1, keepdim=True) if self.codebook_axis else present.unsqueeze(-1)
        with full_precision(ids.device):
            return self.project_out(self._joined_or_zeros(ids)) * some

    def _looked_up_latents(self, ids: Tensor, channel_first: bool | None) -> Tensor:
        """Give what `_looked_up` gives, but before the projection out: channels are `(c d)`."""
        self._check_ids(ids)
        with full_precision(ids.device):
            codes = self._joined_or_zeros(ids.long())
        if channel_first is None:
            channel_first = codes.ndim > 3
        return codes.movedim(-1, 1) if channel_first else codes

    def _joined_or_zeros(self, ids: Tensor) -> Tensor:
        """Give the joined latent codes of ids `(... [c])`; each absent one's part is zero."""
        present = (ids >= 0).unsqueeze(-1)
        return self._joined(self._latent_codes(ids.clamp(min=0)) * present)

    def _split(self, latents: Tensor) -> Tensor:
        """Split latents `(... (c d))` into codebooks `(... [c] d)` and rotate them."""
        if self.codebook_axis:
            latents = latents.unflatten(-1, (self.ids_per_token, self.codebook_dim))
        return rotated(latents, self.orthogonal_rot)

    def _joined(self, latents: Tensor) -> Tensor:
        """Undo `_split`."""
        latents = rotated_back(latents, self.orthogonal_rot)
        return latents.flatten(-2) if self.codebook_axis else latents

    def _all_latent_codes(self, device: torch.device) -> Tensor:
        """Give the latent codes `(k d)` of all ids; nothing keeps them, many vocabularies are too large."""
        return self._latent_codes(torch.arange(self.vocabulary_size, device=device))


def of_tokens(values: Tensor, mask: Tensor | None) -> Tensor:
    """Give values `(b n [c] d)` of the tokens that a mask `(b n)` keeps, as `(n c d)`."""
    kept = values.flatten(0, 1) if mask is None else values[mask]
    return kept.unsqueeze(1) if kept.ndim == 2 else kept


def indices_dtype(vocabulary_size: int) -> torch.dtype:
    """Give int32, which the field's library answers in, or where that is too short int64."""
    return torch.int32 if vocabulary_size <= 2**31 else torch.int64
