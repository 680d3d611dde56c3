"""Multi-scale quantizers against their formulas, written out scale by scale in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import MultiScaleBSQ, MultiScaleVQ
from vistok.quantizers.residual.multi_scale_vector import phis_of_scales
from vistok_protocol.errors import ErrorCode, VistokError

SCALES = (1, 2, (3, 2), (4, 6))
AREAS = [1, 4, 6, 24]

FAMILIES: dict[str, Callable[[], Any]] = {
    "vq": lambda: MultiScaleVQ(8, 50, SCALES),
    "vq of one phi": lambda: MultiScaleVQ(8, 50, SCALES, phis=1, phi_weight=0.2),
    "bsq": lambda: MultiScaleBSQ(8, SCALES),
    "bsq projected": lambda: MultiScaleBSQ(8, SCALES, bits=40),
}
every_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())


def made(make: Callable[[], Any]) -> Any:
    torch.manual_seed(3)
    quantizer = make()
    if isinstance(quantizer, MultiScaleVQ):
        torch.nn.init.normal_(quantizer.embedding.weight)
    return quantizer


@every_family
@pytest.mark.parametrize("training", [False, True])
def test_lookup_inverts_ids(make: Callable[[], Any], training: bool) -> None:
    quantizer = made(make).train(training)
    codes, ids, loss = quantizer.quantize_map(torch.randn(3, 8, 4, 6))
    assert ids.shape == (3, sum(AREAS))
    assert ids.dtype == torch.int64
    assert 0 <= int(ids.min()) <= int(ids.max()) < quantizer.vocabulary_size
    assert codes.shape == (3, 8, 4, 6)
    assert bool(loss) == training
    torch.testing.assert_close(quantizer.lookup(ids), codes, rtol=0, atol=1e-6)


@every_family
def test_ids_alone_are_the_ids_of_the_whole(make: Callable[[], Any]) -> None:
    quantizer = made(make).eval()
    features = torch.randn(3, 8, 4, 6)
    ids = quantizer.ids_of_map(features)
    assert torch.equal(ids, quantizer.quantize_map(features).ids)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.ids_of_map(features), ids)
    quantized, indices, _ = quantizer(features.double())
    assert quantized.dtype == torch.float64
    assert torch.equal(indices, ids)


@every_family
def test_gradients_reach_features_and_weights(make: Callable[[], Any]) -> None:
    quantizer = made(make).train()
    features = torch.randn(2, 8, 4, 6, requires_grad=True)
    codes, _, loss = quantizer.quantize_map(features)
    (codes.square().mean() + loss).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().sum() > 0
    for name, weight in quantizer.named_parameters():
        assert weight.grad is not None, name


@every_family
@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_first_scales_alone_decode(make: Callable[[], Any], count: int, seed: int) -> None:
    quantizer = made(make).eval()
    torch.manual_seed(seed)
    ids = quantizer.ids_of_map(torch.randn(2, 8, 4, 6))
    kept = sum(AREAS[:count])
    coarse = quantizer.lookup(ids[:, :kept])
    assert coarse.shape == (2, 8, 4, 6)
    ids[:, kept:] = -1
    torch.testing.assert_close(quantizer.lookup(ids), coarse, rtol=0, atol=1e-6)


@every_family
def test_absent_ids_decode_to_zeros(make: Callable[[], Any]) -> None:
    quantizer = made(make).eval()
    ids = quantizer.ids_of_map(torch.randn(2, 8, 4, 6))
    whole = quantizer.lookup(ids)
    ids[1] = -1
    decoded = quantizer.lookup(ids)
    torch.testing.assert_close(decoded[0], whole[0], rtol=0, atol=1e-6)
    assert decoded[1].count_nonzero() == 0


def by_the_formula(
    quantizer: Any, features: Tensor, chosen: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Any:
    """Ids and codes of features in float64; `chosen` gives a vector's code and id."""
    residual, total, ids = features.double(), torch.zeros_like(features, dtype=torch.float64), []
    for index, scale in enumerate(quantizer.scales):
        small = functional.adaptive_avg_pool2d(residual, scale)
        codes = torch.zeros_like(small)
        for b in range(len(small)):
            for row in range(scale[0]):
                for column in range(scale[1]):
                    codes[b, :, row, column], one = chosen(small[b, :, row, column])
                    ids.append((b, one))
        mode = "bicubic" if isinstance(quantizer, MultiScaleVQ) else "bilinear"
        large = functional.interpolate(codes, size=quantizer.scales[-1], mode=mode)
        if isinstance(quantizer, MultiScaleVQ):
            phi = quantizer.quant_resi["qresi_ls"][quantizer.phi_of_scale[index]]
            mixed = functional.conv2d(large, phi.weight.double(), phi.bias.double(), padding=1)
            large = 0.5 * large + 0.5 * mixed
        total, residual = total + large, residual - large
    return torch.stack([torch.stack([one for b, one in ids if b == sample]) for sample in range(2)]), total


@torch.no_grad()
def test_vq_is_vars_formula() -> None:
    quantizer = made(FAMILIES["vq"]).eval()
    table = quantizer.embedding.weight.double()

    def chosen(vector: Tensor) -> tuple[Tensor, Tensor]:
        nearest = (table - vector).square().sum(dim=1).argmin()
        return table[nearest], nearest

    features = torch.randn(2, 8, 4, 6)
    expected_ids, expected = by_the_formula(quantizer, features, chosen)
    codes, ids, _ = quantizer.quantize_map(features)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(codes.double(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_bsq_is_infinitys_formula() -> None:
    quantizer = made(FAMILIES["bsq"]).eval()
    places = 2 ** torch.arange(7, -1, -1)

    def chosen(vector: Tensor) -> tuple[Tensor, Tensor]:
        positive = vector > 0
        return (positive.double() * 2 - 1) / 8**0.5, (positive * places).sum()

    features = torch.randn(2, 8, 4, 6)
    expected_ids, expected = by_the_formula(quantizer, features, chosen)
    codes, ids, _ = quantizer.quantize_map(features)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(codes.double(), expected, rtol=0, atol=1e-5)


def test_vars_loss_by_hand() -> None:
    """One scale, one code, no convolution: the squared distance for the code, a quarter for the feature."""
    quantizer = MultiScaleVQ(1, 1, [1], phi_weight=0.0).train()
    torch.nn.init.constant_(quantizer.embedding.weight, 3.0)
    features = torch.tensor([[[[1.0]]]], requires_grad=True)
    codes, _, loss = quantizer.quantize_map(features)
    assert codes.item() == 3.0
    assert loss.item() == pytest.approx(4.0 * 1.25)
    loss.backward()
    assert features.grad is not None
    assert features.grad.item() == pytest.approx(0.25 * -4.0)
    assert quantizer.embedding.weight.grad.item() == pytest.approx(4.0)


def test_scales_share_convolutions_as_in_var() -> None:
    assert phis_of_scales(10, 4) == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert phis_of_scales(1, 4) == [0]
    assert phis_of_scales(5, 1) == [0] * 5


def test_state_dict_keys_are_vars() -> None:
    expected = {"embedding.weight"}
    expected |= {f"quant_resi.qresi_ls.{i}.{name}" for i in range(4) for name in ("weight", "bias")}
    assert set(made(FAMILIES["vq"]).state_dict()) == expected


@every_family
def test_what_cannot_be_is_refused(make: Callable[[], Any]) -> None:
    quantizer = made(make)
    for features in (torch.randn(1, 8, 6, 4), torch.randn(1, 7, 4, 6), torch.randn(1, 8, 24)):
        with pytest.raises(VistokError) as refused:
            quantizer.quantize_map(features)
        assert refused.value.code is ErrorCode.INVALID_SHAPE
    with pytest.raises(VistokError, match="no mask"):
        quantizer.quantize_map(torch.randn(1, 8, 4, 6), torch.ones(1, 4, 6, dtype=torch.bool))
    with pytest.raises(VistokError, match=r"n one of \[1, 5, 11, 35\], got \(1, 6\)"):
        quantizer.lookup(torch.zeros(1, 6, dtype=torch.int64))
    with pytest.raises(VistokError, match="got -2"):
        quantizer.lookup(torch.full((1, 5), -2))
    with pytest.raises(VistokError, match="scales"):
        MultiScaleBSQ(4, [])
