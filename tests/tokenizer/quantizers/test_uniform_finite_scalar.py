"""iFSQ: the gentler bound and what it is for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vistok.quantizers import FSQ, IFSQ, Quantizer
from vistok_protocol.errors import ErrorCode, VistokError


def test_ids_and_codes_by_hand() -> None:
    features = torch.tensor([[0.0, 0.0], [10.0, -10.0], [-10.0, 10.0], [0.0, 0.5]])
    result = IFSQ([3, 5]).eval().quantize_map(features)
    # 2 sigmoid(1.6 / 2) - 1 = 0.38, times two steps rounds to one.
    assert result.codes.tolist() == [[0, 0], [1, -1], [-1, 1], [0, 0.5]]
    assert result.ids.tolist() == [1 + 3 * 2, 2 + 3 * 0, 0 + 3 * 4, 1 + 3 * 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([3, 5, 7, 17, 33]), min_size=1, max_size=6))
def test_codes_are_those_of_the_formula(levels: list[int]) -> None:
    features = 2 * torch.randn(50, len(levels), generator=torch.Generator().manual_seed(0))
    half = (torch.tensor(levels) - 1) / 2
    expected = ((2 * torch.sigmoid(1.6 * features.double()) - 1) * half).round() / half
    torch.testing.assert_close(IFSQ(levels).eval().quantize_map(features).codes, expected.float())


def test_gaussian_features_use_the_levels_between_the_outermost_alike() -> None:
    features = torch.randn(1, 1, 200000, generator=torch.Generator().manual_seed(0))

    def unevenness(quantizer: Quantizer) -> float:
        counts = quantizer.eval().ids_of_map(features).flatten().bincount(minlength=17)[1:-1]
        return float(counts.max() / counts.min())

    assert unevenness(IFSQ([17])) < 1.15
    assert unevenness(FSQ([17])) > 1.5


@pytest.mark.parametrize("levels", [[], [4, 5], [1, 3], [17] * 16])
def test_even_and_too_many_levels_are_refused(levels: list[int]) -> None:
    with pytest.raises(VistokError, match="iFSQ needs odd levels") as refused:
        IFSQ(levels)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
