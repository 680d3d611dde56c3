"""Binary latents: a vector per bit, ids of up to 62 bits, sampling in training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vistok.quantizers import BinaryLatent
from vistok_protocol.errors import ErrorCode, VistokError


def identity(bits: int, **options: float) -> BinaryLatent:
    """Logits are the features, codes are the bits."""
    quantizer = BinaryLatent(bits, bits, **options)
    with torch.no_grad():
        quantizer.logits.weight.copy_(torch.eye(bits))
        quantizer.logits.bias.zero_()
        quantizer.embedding.copy_(torch.eye(bits))
    return quantizer


def test_codes_are_sums_of_the_vectors_of_the_bits() -> None:
    quantizer = identity(3).eval()
    with torch.no_grad():
        quantizer.embedding.copy_(torch.tensor([[1.0, 2, 3], [10, 20, 30], [100, 200, 300]]))
    result = quantizer.quantize_map(torch.tensor([[1.0, -1.0, 2.0], [-1.0, 0.0, -1.0]]))
    assert result.ids.tolist() == [0b101, 0]
    assert result.codes.tolist() == [[101, 202, 303], [0, 0, 0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**62 - 1))
def test_ids_of_62_bits_are_exact(number: int) -> None:
    quantizer = identity(62).eval()
    codes = quantizer.lookup(torch.tensor([[number]]))
    assert codes.flatten().tolist() == [float(digit) for digit in f"{number:062b}"]
    assert quantizer.ids_of_map(2 * codes - 1).tolist() == [[number]]


@pytest.mark.parametrize(
    ("bits", "codebooks"), [(1, 1), (32, 1), (62, 1), (64, 2), (100, 2), (128, 4), (67, 67)]
)
def test_more_than_62_bits_are_several_equal_ids(bits: int, codebooks: int) -> None:
    quantizer = identity(bits).eval()
    assert (quantizer.ids_per_token, quantizer.vocabulary_size) == (codebooks, 2 ** (bits // codebooks))
    result = quantizer.quantize_map(torch.randn(2, bits, 5))
    assert result.ids.shape == ((2, 5) if codebooks == 1 else (2, 5, codebooks))
    assert torch.equal(quantizer.lookup(result.ids), result.codes)


def test_the_first_bits_are_in_the_first_id() -> None:
    features = -torch.ones(1, 64)
    features[0, 31] = features[0, 32] = 1
    assert identity(64).eval().ids_of_map(features).tolist() == [[1, 2**31]]


def test_an_absent_id_adds_nothing() -> None:
    quantizer = identity(64).eval()
    codes = quantizer.lookup(torch.tensor([[2**32 - 1, -1], [-1, -1]]))
    assert codes.sum(dim=1).tolist() == [32, 0]
    assert codes[0, :32].all()


def test_training_draws_bits_by_their_probability() -> None:
    torch.manual_seed(0)
    probability = torch.tensor([0.1, 0.5, 0.9])
    features = probability.logit()[None, :, None].expand(1, 3, 4000)
    codes = identity(3).train().quantize_map(features).codes
    torch.testing.assert_close(codes.mean(dim=(0, 2)), probability, rtol=0, atol=0.03)


def test_gradients_are_those_of_the_probabilities() -> None:
    features = torch.tensor([[0.3, -1.0]], requires_grad=True)
    identity(2).train().quantize_map(features).codes.sum().backward()
    probability = features.detach().sigmoid()
    torch.testing.assert_close(features.grad, probability * (1 - probability))


def test_the_loss_is_the_variance_of_the_bits_where_the_mask_holds() -> None:
    quantizer = identity(2, uncertainty_weight=2.0).train()
    features = torch.tensor([[[0.0, 50.0], [0.0, 50.0]]])

    def loss(mask: list[bool] | None = None) -> float:
        return quantizer.quantize_map(features, None if mask is None else torch.tensor([mask])).loss.item()

    assert loss() == pytest.approx(0.25)
    assert loss([True, False]) == pytest.approx(0.5)
    assert loss([False, False]) == 0
    quantizer.eval()
    assert loss() == 0


def test_no_bits_are_refused() -> None:
    with pytest.raises(VistokError, match="at least 1 bit, got 0") as refused:
        BinaryLatent(4, 0)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
