"""Ranks whose random numbers differ leave out the same layers."""

from collections.abc import Callable
from pathlib import Path

import torch

from tests.tokenizer.quantizers.ranks import on_two_ranks
from vistok.quantizers import GroupedResidualVQ, ResidualVQ


def depths(rank: int, join: Callable[[], None]) -> list[int]:
    """Give how many layers each of some batches went through; the stacks are older than the group."""
    stack = ResidualVQ(dim=4, num_quantizers=6, codebook_size=8, quantize_dropout=True).train()
    groups = GroupedResidualVQ(
        dim=4, groups=2, num_quantizers=6, codebook_size=8, quantize_dropout=True
    ).train()
    join()
    torch.manual_seed(rank)
    x = torch.randn(8, 1, 3, 4)
    of_stack = [stack(batch)[1][0, 0] for batch in x]
    of_groups = [groups(batch)[1][1, 0, 0] for batch in x]
    return [int((ids >= 0).sum()) for ids in of_stack + of_groups]


def test_ranks_leave_out_the_same_layers(tmp_path: Path) -> None:
    first, second = on_two_ranks(depths, tmp_path)
    assert first == second
    assert len(set(first)) > 1
