"""How deep into a stack a training batch goes, so that every depth learns to stand alone (arXiv:2107.03312).

The depth is drawn uniformly from those allowed and is the same on all ranks, since ranks that skip different
layers would wait for each other's gradients.
"""

from math import ceil
from random import Random
from typing import NamedTuple

import torch

from vistok.quantizers.processes import from_first_rank
from vistok_protocol.errors import ErrorCode, VistokError

_SEEDS = 10_000


class DepthDropout(NamedTuple):
    """Attributes: the fewest layers that a batch goes through, and what their number is rounded up to."""

    fewest: int
    multiple_of: int

    def depth(self, layers: int, seed: int) -> int:
        """Give the number of layers, at most `layers`, that a batch with this seed goes through."""
        depth = Random(seed).randrange(self.fewest, layers + 1)
        return min(ceil(depth / self.multiple_of) * self.multiple_of, layers)


def depth_dropout(enabled: bool, cutoff_index: int, multiple_of: int, layers: int) -> DepthDropout | None:
    """Check the arguments as users give them: layers after the one of index `cutoff_index` may be dropped."""
    if not enabled or layers == 1:
        return None
    if not 0 <= cutoff_index < layers or multiple_of < 1:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"quantize_dropout needs a quantize_dropout_cutoff_index from 0 to {layers - 1} and a "
            f"quantize_dropout_multiple_of of at least 1, got {cutoff_index} and {multiple_of}",
        )
    return DepthDropout(cutoff_index + 1, multiple_of)


def drawn_seed(device: torch.device) -> int:
    """Draw a seed that all ranks share."""
    seed = torch.randint(_SEEDS, (1,), device=device)
    from_first_rank(seed)
    return int(seed)
