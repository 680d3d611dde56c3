"""A fixed random rotation of the latent channels: it spreads what one channel holds over all of them.

Without it a channel that says little wastes its levels. It is the incoherence processing of Chee et al.,
arXiv:2307.13304.
"""

import torch
from torch import Tensor, nn


def random_rotation(dim: int) -> Tensor:
    """Give an orthogonal matrix `(dim dim)` float32, uniformly drawn."""
    return nn.init.orthogonal_(torch.empty(dim, dim))


def rotated(latents: Tensor, rotation: Tensor | None) -> Tensor:
    """Rotate latents `(... dim)`, if there is a rotation."""
    return latents if rotation is None else latents @ rotation.float()


def rotated_back(latents: Tensor, rotation: Tensor | None) -> Tensor:
    """Undo `rotated`."""
    return latents if rotation is None else latents @ rotation.float().T
