"""What holds for every quantizer, whatever its family."""

from collections.abc import Callable

import pytest
import torch

from tests.tokenizer.quantizers.families import FAMILIES, made
from vistok.quantizers import NSVQ, Quantizer, VectorQuantize
from vistok_protocol.errors import ErrorCode, VistokError

every_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())


@every_family
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("space", [(5,), (4, 6), (2, 3, 4)])
def test_lookup_inverts_ids(make: Callable[[], Quantizer], space: tuple[int, ...], training: bool) -> None:
    quantizer = made(make).train(training)
    for part in quantizer.modules():
        if isinstance(part, VectorQuantize):
            part.freeze_codebook = True
    if isinstance(quantizer, NSVQ) and training:
        pytest.skip("its training output is noise around the features, not codes")
    result = quantizer.quantize_map(3 * torch.randn(2, quantizer.dim, *space))
    axis_of_codebooks = (quantizer.ids_per_token,) if quantizer.codebook_axis else ()
    assert result.ids.shape == (2, *space, *axis_of_codebooks)
    assert result.ids.dtype == torch.int64
    assert 0 <= int(result.ids.min()) <= int(result.ids.max()) < quantizer.vocabulary_size
    torch.testing.assert_close(quantizer.lookup(result.ids), result.codes, rtol=0, atol=1e-6)


@every_family
def test_ids_alone_are_the_ids_of_the_whole(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).eval()
    features = torch.randn(3, quantizer.dim, 7, 5)
    assert torch.equal(quantizer.ids_of_map(features), quantizer.quantize_map(features).ids)


@every_family
def test_ids_do_not_depend_on_the_company(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).eval()
    features = torch.randn(6, quantizer.dim, 9, 11)
    together = quantizer.ids_of_map(features)
    alone = torch.cat([quantizer.ids_of_map(one) for one in features.split(1)])
    assert torch.equal(together, alone)


@every_family
def test_gradients_reach_the_features(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).train()
    features = torch.randn(2, quantizer.dim, 4, 4, requires_grad=True)
    codes, _, loss = quantizer.quantize_map(features)
    (codes.square().mean() + loss).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().sum() > 0


@every_family
def test_a_wrong_feature_map_is_refused(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make)
    with pytest.raises(VistokError, match=f"d = {quantizer.dim}") as refused:
        quantizer.quantize_map(torch.randn(2, quantizer.dim + 1, 4, 4))
    assert refused.value.code is ErrorCode.INVALID_SHAPE


@every_family
def test_half_precision_autocast_does_not_move_ids(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).eval()
    features = torch.randn(2, quantizer.dim, 8, 8)
    expected = quantizer.ids_of_map(features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.ids_of_map(features), expected)


@every_family
def test_a_call_answers_in_the_dtype_of_its_input(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).eval()
    features = torch.randn(2, 6, quantizer.dim)
    if quantizer.channel_first:
        features = features.mT
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        codes = quantizer(features.to(dtype))[0]
        assert codes.dtype == dtype
        assert codes.shape == features.shape
