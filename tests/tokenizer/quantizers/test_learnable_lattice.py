"""The learnable lattice: rounding to learned spacings within a bounded number of cells."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vistok.quantizers import LearnableLattice
from vistok_protocol.errors import ErrorCode, VistokError


def with_spacing(spacing: list[float], cells: int = 7, **options: float) -> LearnableLattice:
    quantizer = LearnableLattice(len(spacing), cells, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        quantizer.spacing.copy_(torch.tensor(spacing))
    return quantizer


def test_ids_and_codes_by_hand() -> None:
    result = with_spacing([0.5, 2.0, -1.0]).eval().quantize_map(torch.tensor([[1.2, -3.1, 0.4]]))
    assert result.codes.tolist() == [[1.0, -4.0, 0.0]]
    assert result.ids.tolist() == [[2 + 3, -2 + 3, 0 + 3]]


def test_features_beyond_the_cells_take_the_outermost() -> None:
    result = with_spacing([0.5, 2.0]).eval().quantize_map(torch.tensor([[100.0, float("-inf")]]))
    assert result.codes.tolist() == [[1.5, -6.0]]
    assert result.ids.tolist() == [[6, 0]]


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 3), st.floats(-30, 30), st.booleans())
def test_the_nearest_point_is_taken(spacing: float, feature: float, negative: bool) -> None:
    quantizer = with_spacing([-spacing if negative else spacing]).eval()
    points = quantizer.lookup(torch.arange(7)[:, None]).detach().flatten()
    code = quantizer.quantize_map(torch.tensor([[feature]])).codes.item()
    assert abs(code - feature) <= float((points - feature).abs().min()) + 1e-5


def test_loss_and_gradients_by_hand() -> None:
    quantizer = with_spacing([0.5, -2.0], commitment_weight=0.25, spread_weight=0.1).train()
    features = torch.tensor([[1.2, -3.0]], requires_grad=True)
    loss = quantizer.quantize_map(features).loss
    # Codes 1.0 and -4.0 (1.5 is rounded to even): squared errors 0.04 and 1.
    assert loss.item() == pytest.approx(1.25 * 1.04 / 2 - 0.1 * 2.5)
    loss.backward()
    assert features.grad is not None
    assert quantizer.spacing.grad is not None
    # Each mean square over two channels has the gradient of its difference: features minus codes.
    torch.testing.assert_close(features.grad, 0.25 * torch.tensor([[0.2, 1.0]]))
    # Digits 2 and -2 times codes minus features, and the spread; the second spacing counts backwards.
    torch.testing.assert_close(quantizer.spacing.grad, torch.tensor([2 * -0.2 - 0.1, -(-2 * -1.0 - 0.1)]))


def test_a_spacing_of_zero_does_no_harm() -> None:
    quantizer = with_spacing([0.0]).train()
    result = quantizer.quantize_map(torch.tensor([[0.3]]))
    result.loss.backward()
    assert result.ids.tolist() == [[6]]
    assert quantizer.spacing.grad is not None
    assert quantizer.spacing.grad.isfinite().all()


def test_spacings_start_from_the_density_of_a_codebook() -> None:
    spacing = LearnableLattice(200, codebook_size=2**200).spacing
    # B = 1 / (2 - 1).
    assert 0.9 < float(spacing.detach().abs().max()) <= 1


def test_an_absent_id_is_zero_in_its_channel_alone() -> None:
    assert with_spacing([1.0, 1.0]).lookup(torch.tensor([[-1, 6]])).tolist() == [[0, 3]]


@pytest.mark.parametrize("options", [{"cells": 1}, {"cells": 8}, {"codebook_size": 1}])
def test_impossible_sizes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(VistokError, match="odd number of cells") as refused:
        LearnableLattice(3, **options)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
