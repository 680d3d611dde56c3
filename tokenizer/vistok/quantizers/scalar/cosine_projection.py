"""A linear layer whose outputs are cosines: between each token and each of the layer's directions."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class CosineProjection(nn.Module):
    """Maps `(... d)` to `scale` times the cosines `(... d')` float32 with the weight's columns; no bias.

    Args:
        dim: channels `d` that go in.
        latent_dim: channels `d'` that come out.
        scale: the largest value.
    """

    def __init__(self, dim: int, latent_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(dim, latent_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute in float32, whatever the weights are stored in."""
        directions = functional.normalize(self.weight.float(), dim=0)
        return functional.normalize(tokens.float(), dim=-1) @ directions * self.scale
