"""What a causal network remembers of a clip between two pieces of it."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Memory:
    """The last frames that each layer saw: a fixed number of them, however long the clip.

    Before a clip stand copies of its first frame: to a causal network, a picture is a clip that stands still.
    Only layers that attend to the whole clip before, which some published networks have, keep all of it.

    Attributes:
        past: for each layer that remembers, in their order, what it keeps `(b t ...)`; empty before a clip.
            All that is needed to go on elsewhere.
    """

    def __init__(self, past: Sequence[Tensor] = ()) -> None:
        self.past = list(past)
        self._seen: list[Tensor] = []

    @property
    def is_fresh(self) -> bool:
        """Whether no piece has come yet."""
        return not self.past

    def join(self, frames: Tensor, count: int) -> Tensor:
        """Put the `count` frames that this layer saw last before these, `(b t ...)` to `(b count+t ...)`.

        Layers are told apart by their order.
        """
        past = (
            frames[:, :1].expand(-1, count, *frames.shape[2:])
            if self.is_fresh
            else self.past[len(self._seen)]
        )
        joined = torch.cat((past, frames), dim=1)
        # A copy: a view would keep all of these frames.
        self._seen.append(joined[:, -count:].clone())
        return joined

    def join_all(self, frames: Tensor) -> Tensor:
        """Put all that this layer saw before these, `(b t ...)`: none at the start of a clip."""
        joined = frames if self.is_fresh else torch.cat((self.past[len(self._seen)], frames), dim=1)
        self._seen.append(joined)
        return joined

    def end_piece(self) -> None:
        """Turn to the next piece: all layers have seen this one."""
        self.past, self._seen = self._seen, []
