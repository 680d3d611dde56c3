"""Ids are decided in float32, whatever the precision around: half precision moves tokens to other codes.

Autocast is switched off around the arithmetic, weights that were cast to half precision compute in
float32, and constants refuse to be cast.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Suspend autocast; costs nothing where there is none."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class Projection(nn.Linear):
    """A linear layer that computes in float32 even when its weights are stored in half precision."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `(... d)` to `(... d')` float32."""
        bias = None if self.bias is None else self.bias.float()
        # Of a channel-first map, tokens are a transposed view, for which torch takes a far slower product.
        return functional.linear(tokens.float().contiguous(), self.weight.float(), bias)


class Float32LayerNorm(nn.LayerNorm):
    """A LayerNorm that computes in float32 even when its weights are stored in half precision."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Keep the shape `(... d)`."""
        weight, bias = self.weight.float(), self.bias.float()
        return functional.layer_norm(tokens.float(), self.normalized_shape, weight, bias, self.eps)


class Float32(nn.Module):
    """Passes tokens on in float32: the projection where none is needed. It has no weights."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Keep the shape."""
        return tokens.float()


def projections(dim: int, latent_dim: int, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Give the layers from `dim` channels to `latent_dim` and back; without weights where they agree."""
    if dim == latent_dim:
        return Float32(), Float32()
    return Projection(dim, latent_dim, bias), Projection(latent_dim, dim, bias)


class Constants(nn.Module):
    """Tensors that move between devices with the module, are in no state dict and keep their dtype."""

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in before.items():
            moved = self._buffers[name]
            if value is not None and moved is not None and moved.dtype != value.dtype:
                self._buffers[name] = value.to(moved.device)
        return self

    if TYPE_CHECKING:
        # Every attribute that is not the module's own is one of the tensors.
        def __getattr__(self, name: str) -> Tensor: ...
