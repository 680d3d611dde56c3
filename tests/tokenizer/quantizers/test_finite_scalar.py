"""FSQ against the field's library."""

import pytest
import torch
import vector_quantize_pytorch as original

from vistok.quantizers import FSQ
from vistok_protocol.errors import VistokError


@pytest.mark.parametrize("shape", [(2, 50, 6), (2, 6, 5, 7), (2, 6, 2, 3, 4)])
def test_fsq_is_the_originals(shape: tuple[int, ...]) -> None:
    levels = [8, 8, 8, 5, 5, 5]
    ours, theirs = FSQ(levels).eval(), original.FSQ(levels).eval()
    x = 2 * torch.randn(shape)
    codes, indices = ours(x)
    expected_codes, expected_indices = theirs(x)
    assert torch.equal(indices, expected_indices)
    assert torch.equal(codes, expected_codes)
    assert torch.equal(ours.indices_to_codes(indices), codes)


def test_levels_below_three_are_refused() -> None:
    with pytest.raises(VistokError, match=r"got \[8, 2\]"):
        FSQ([8, 2])
