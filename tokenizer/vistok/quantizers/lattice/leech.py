"""Spherical Leech quantization: the nearest of 196,560 fixed directions (Zhao et al., arXiv:2512.14697).

The codes are the shortest vectors of the Leech lattice over their length, the densest arrangement of so many
points on the sphere in 24 dimensions. The id is argmax <z, code>; features go onto the sphere. No code ever
dies, so there is neither an entropy nor a commitment to add to the loss.
"""

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import straight_through
from vistok.quantizers.lattice.leech_search import leech_rows
from vistok.quantizers.lattice.leech_vectors import COUNT, DIMENSIONS, SQUARED_LENGTH, leech
from vistok.quantizers.precision import Constants, full_precision, projections

# Keeps the gradient of a vanishing feature finite.
_SMALLEST_LENGTH = 1e-6


class LeechQuantizer(Quantizer):
    """Quantization to the shortest vectors of the Leech lattice, 17.58 bits per id.

    Calling it gives `Quantized`. Ids are rows of the table that
    `lattice/leech_vectors.py` builds and describes, once per process; state dicts do not hold it. Latent
    codes have unit length.

    Args:
        dim: channels of the features; where it is not 24, linear layers project in and out.
    """

    def __init__(self, dim: int = DIMENSIONS) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary_size = COUNT
        self.project_in, self.project_out = projections(dim, DIMENSIONS)
        vectors, octads, words = leech()
        self._lattice = Constants(
            vectors=torch.from_numpy(vectors),
            octads=torch.from_numpy(octads),
            signs=torch.from_numpy((1 - 2 * words).astype(np.float32)),
            parity=torch.from_numpy(words[:, 12:] @ (1 << np.arange(11, -1, -1))),
        )

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with full_precision(tokens.device):
            latents = self.project_in(tokens)
            ids = self._rows(latents)
            codes = self._points(ids)
            if self.training:
                codes = straight_through(functional.normalize(latents, dim=-1, eps=_SMALLEST_LENGTH), codes)
            return Quantized(self.project_out(codes), ids, codes.new_zeros(()))

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._rows(self.project_in(tokens))

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            return self.project_out(self._points(ids))

    def _points(self, ids: Tensor) -> Tensor:
        return self._lattice.vectors[ids].float() * SQUARED_LENGTH**-0.5

    def _rows(self, latents: Tensor) -> Tensor:
        lattice = self._lattice
        tokens = latents.detach().flatten(0, 1)
        return leech_rows(tokens, lattice.octads, lattice.signs, lattice.parity).unflatten(
            0, latents.shape[:2]
        )
