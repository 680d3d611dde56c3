"""How features may be arranged, and the one arrangement inside: tokens `(b n d)`."""

from typing import NamedTuple

import torch
from torch import Tensor

from vistok_protocol.errors import ErrorCode, VistokError

# Sequences end in their channels, feature maps start with them; from four axes on, it is taken for a map.
_AXES_OF_A_MAP = 4


class Layout(NamedTuple):
    """The arrangement that a caller's features came in.

    Attributes:
        batch: `b`.
        space: sizes of all axes but the batch and the channels; empty for `(b d)`.
        channel_first: `(b d *space)` rather than `(b *space d)`.
    """

    batch: int
    space: torch.Size
    channel_first: bool

    def codes(self, tokens: Tensor) -> Tensor:
        """Arrange tokens `(b n d)` as the features were."""
        if self.channel_first and self.space:
            return tokens.transpose(1, 2).reshape(self.batch, tokens.shape[-1], *self.space)
        return tokens.reshape(self.batch, *self.space, tokens.shape[-1])

    def ids(self, ids: Tensor) -> Tensor:
        """Arrange ids, or anything else per token, `(b n *rest)` as `(b *space *rest)`."""
        return ids.reshape(self.batch, *self.space, *ids.shape[2:])


def as_tokens(features: Tensor, dim: int, channel_first: bool | None) -> tuple[Tensor, Layout]:
    """Give features as tokens `(b n d)` and the arrangement they had.

    Args:
        features: floating `(b *space d)`, `(b d *space)` or `(b d)`.
        dim: the number of channels `d`.
        channel_first: which of the two; None: channels come first from four axes on.
    """
    if channel_first is None:
        channel_first = features.ndim >= _AXES_OF_A_MAP
    axis = 1 if channel_first else -1
    if features.ndim < 2 or features.shape[axis] != dim or not features.is_floating_point():
        pattern = "(b d ...)" if channel_first else "(b ... d)"
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected floating-point features {pattern} with d = {dim}, "
            f"got {str(features.dtype).removeprefix('torch.')} {tuple(features.shape)}",
        )
    if features.ndim == 2:
        return features.unsqueeze(1), Layout(features.shape[0], torch.Size(), channel_first)
    if channel_first:
        layout = Layout(features.shape[0], features.shape[2:], True)
        return features.flatten(2).transpose(1, 2), layout
    return features.flatten(1, -2), Layout(features.shape[0], features.shape[1:-1], False)


def mask_of_lengths(lengths: Tensor, longest: int) -> Tensor:
    """Give the mask `(b n)`, true within each sequence's length, of lengths `(b)`."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def check_mask(mask: Tensor, layout: Layout) -> Tensor:
    """Give a mask `(b *space)` bool as `(b n)`, or refuse it."""
    expected = (layout.batch, *layout.space)
    if mask.dtype != torch.bool or tuple(mask.shape) != expected:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected a mask of bool {expected}, got {str(mask.dtype).removeprefix('torch.')} "
            f"{tuple(mask.shape)}",
        )
    return mask.reshape(layout.batch, -1)
