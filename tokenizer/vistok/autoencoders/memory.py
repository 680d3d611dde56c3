"""What a causal network remembers of a clip between two pieces of it."""

import torch
from torch import Tensor, nn


class Memory:
    """The last frames that each layer saw: a fixed number of them, however long the clip.

    Before a clip stand copies of its first frame: to a causal network, a picture is a clip that stands still.

    Attributes:
        is_fresh: whether no frame has come yet.
    """

    def __init__(self) -> None:
        self.is_fresh = True
        self._past: dict[nn.Module, Tensor] = {}

    def join(self, layer: nn.Module, frames: Tensor, count: int) -> Tensor:
        """Put the `count` frames that the layer saw last before these, `(b t ...)` to `(b count+t ...)`."""
        past = frames[:, :1].expand(-1, count, *frames.shape[2:]) if self.is_fresh else self._past[layer]
        joined = torch.cat((past, frames), dim=1)
        # A copy: a view would keep all of these frames.
        self._past[layer] = joined[:, -count:].clone()
        return joined
