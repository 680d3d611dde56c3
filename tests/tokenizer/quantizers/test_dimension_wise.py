"""Dimension-wise quantization: Gaussian cells, the nearest value, measured channels."""

from math import erf, exp, pi, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vistok.quantizers import DimensionWise
from vistok.quantizers.scalar.dimension_wise import gaussian_values
from vistok_protocol.errors import ErrorCode, VistokError


def test_two_cells_by_hand() -> None:
    # The mean of a normal between 0 and 3: (f(0) - f(3)) / (F(3) - F(0)).
    value = (1 - exp(-4.5)) / sqrt(2 * pi) / (erf(3 / sqrt(2)) / 2)
    assert gaussian_values(2).tolist() == pytest.approx([-value, value])


@pytest.mark.parametrize("levels", [3, 16, 64, 740])
def test_values_are_the_means_of_equally_likely_cells(levels: int) -> None:
    # A fine sample of the normal distribution at equal steps of probability, cut off at three deviations.
    sample = torch.special.ndtri((torch.arange(levels * 500, dtype=torch.float64) + 0.5) / (levels * 500))
    cells = sample.reshape(levels, 500)
    inside = cells.abs() < 3
    expected = (cells * inside).sum(dim=1) / inside.sum(dim=1)
    values = gaussian_values(levels)
    torch.testing.assert_close(values, expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(values, -values.flip(0))
    assert (values.diff() > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.floats(-20, 20), st.integers(2, 100), st.floats(-3, 3), st.floats(0.1, 5))
def test_the_nearest_value_is_taken(feature: float, levels: int, mean: float, deviation: float) -> None:
    quantizer = DimensionWise(1, levels, mean=mean, deviation=deviation).eval()
    values = quantizer.lookup(torch.arange(levels)[:, None]).flatten()
    code = quantizer.quantize_map(torch.tensor([[feature]])).codes
    distances = (values - feature).abs()
    assert abs(float(code) - feature) <= float(distances.min()) + 1e-5


def test_one_id_per_channel_each_with_its_own_statistics() -> None:
    quantizer = DimensionWise(2, 4, mean=[0.0, 10.0], deviation=[1.0, 5.0]).eval()
    low, high = quantizer.lookup(torch.tensor([[0, 3]])).flatten().tolist()
    outermost = float(gaussian_values(4)[-1])
    assert (low, high) == pytest.approx((-outermost, 10 + 5 * outermost))
    assert quantizer.ids_of_map(torch.tensor([[-9.0, 90.0], [0.1, 9.9]])).tolist() == [[0, 3], [2, 1]]


def test_calibrated_channels_use_all_levels_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 3, 50, 50, generator=generator)
    features = features * torch.tensor([0.01, 1.0, 40.0])[:, None, None] + 7
    quantizer = DimensionWise(3, 16).eval()
    quantizer.calibrate(features)
    torch.testing.assert_close(quantizer.mean, features.mean(dim=(0, 2, 3)))
    ids = quantizer.ids_of_map(features)
    for channel in ids.unbind(dim=-1):
        share = torch.bincount(channel.flatten(), minlength=16) / channel.numel()
        assert torch.special.entr(share).sum() > 0.99 * torch.tensor(16.0).log()


def test_a_constant_channel_is_kept() -> None:
    quantizer = DimensionWise(1, 8).eval()
    features = torch.full((1, 1, 9), 3.0)
    quantizer.calibrate(features)
    torch.testing.assert_close(quantizer.quantize_map(features).codes, features)


def test_the_state_dict_carries_the_statistics() -> None:
    measured = DimensionWise(2, 8)
    measured.calibrate(5 * torch.randn(2, 2, 30))
    assert set(measured.state_dict()) == {"mean", "deviation"}
    loaded = DimensionWise(2, 8)
    loaded.load_state_dict(measured.state_dict())
    features = torch.randn(1, 2, 30)
    assert torch.equal(measured.ids_of_map(features), loaded.ids_of_map(features))


def test_an_absent_id_is_zero_in_its_channel_alone() -> None:
    quantizer = DimensionWise(2, 4, mean=1.0)
    assert (quantizer.lookup(torch.tensor([[-1, 2]]))[0] != 0).tolist() == [False, True]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"levels": 1}, "2 to 740 levels, got 1"),
        ({"levels": 741}, "2 to 740 levels, got 741"),
        ({"mean": [0.0, 0.0]}, "one mean or one for each of 3 channels, got 2"),
        ({"deviation": 0.0}, "deviations above 0"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(VistokError, match=sentence) as refused:
        DimensionWise(3, **options)  # type: ignore[arg-type]
    assert refused.value.code is ErrorCode.INVALID_REQUEST
