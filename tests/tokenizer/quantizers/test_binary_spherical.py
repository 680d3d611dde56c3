"""BSQ: bits on the sphere, exact ids of many bits, entropies against their definition."""

from itertools import product

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import BSQ
from vistok_protocol.errors import ErrorCode, VistokError


def test_signs_are_bits_the_first_highest_and_zero_is_negative() -> None:
    result = BSQ(4).eval().quantize_map(torch.tensor([[1.0, -2.0, 0.0, 3.0]]))
    assert result.ids.tolist() == [0b1001]
    assert result.codes.tolist() == [[0.5, -0.5, -0.5, 0.5]]


@pytest.mark.parametrize("bits", [36, 62])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_ids_of_many_bits_are_exact(bits: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**bits - 1))
    quantizer = BSQ(bits).eval()
    codes = quantizer.lookup(torch.tensor([[number]]))
    assert (codes.flatten() > 0).tolist() == [digit == "1" for digit in f"{number:0{bits}b}"]
    assert quantizer.ids_of_map(codes).tolist() == [[number]]


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 1e4))
def test_only_the_direction_counts(scale: float) -> None:
    features = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    quantizer = BSQ(6).train()
    one, other = quantizer.quantize_map(features), quantizer.quantize_map(scale * features)
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.codes, other.codes)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inv_temperature", [1.0, 20.0])
@pytest.mark.parametrize("group_size", [1, 2, 5, 9])
def test_entropies_are_those_of_the_softmax_over_all_codes(group_size: int, inv_temperature: float) -> None:
    features = torch.randn(1, 5, 40, generator=torch.Generator().manual_seed(0))
    tokens = functional.normalize(features[0].T.double(), dim=1)

    def probabilities(channels: Tensor) -> Tensor:
        signs = torch.tensor(list(product([-1.0, 1.0], repeat=channels.shape[1])), dtype=torch.float64)
        return (2 * inv_temperature * channels @ signs.T / 5**0.5).softmax(dim=1)

    own = _entropy(probabilities(tokens)).mean()
    of_batch = sum(_entropy(probabilities(group).mean(dim=0)) for group in tokens.split(group_size, dim=1))
    quantizer = BSQ(
        5,
        group_size=group_size,
        inv_temperature=inv_temperature,
        entropy_loss_weight=0.3,
        diversity_gamma=0.7,
    )
    expected = 0.3 * (own - 0.7 * of_batch) / inv_temperature
    loss = quantizer.train().quantize_map(features).loss
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


def test_commitment_is_the_squared_distance_on_the_sphere() -> None:
    quantizer = BSQ(4, entropy_loss_weight=0, commitment_loss_weight=2.0).train()
    # u = (1, 0, 0, 0) and q = (1, -1, -1, -1) / 2: a squared distance of 4 / 4.
    loss = quantizer.quantize_map(torch.tensor([[7.0, 0.0, 0.0, 0.0]])).loss
    torch.testing.assert_close(loss, torch.tensor(2.0))


def test_masked_tokens_are_no_part_of_the_loss() -> None:
    quantizer = BSQ(6, commitment_loss_weight=1.0).train()
    features = torch.randn(1, 6, 8)
    mask = torch.arange(8)[None] < 5
    loss = quantizer.quantize_map(features, mask).loss
    torch.testing.assert_close(loss, quantizer.quantize_map(features[:, :, :5]).loss)
    assert quantizer.quantize_map(features, torch.zeros_like(mask)).loss == 0


def test_the_loss_is_zero_in_eval_mode() -> None:
    assert BSQ(6).eval().quantize_map(torch.randn(1, 6, 8)).loss == 0


@pytest.mark.parametrize("options", [{"bits": 63}, {"bits": 0}, {"group_size": 0}, {"group_size": 25}])
def test_impossible_sizes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(VistokError, match="BSQ needs") as refused:
        BSQ(8, **options)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def _entropy(probability: Tensor) -> Tensor:
    return torch.special.entr(probability).sum(dim=-1)
