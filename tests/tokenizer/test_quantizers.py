"""Every family goes through the same properties; each is held against the field's library."""

from collections.abc import Callable

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import FSQ, LFQ, Quantizer, VectorQuantize
from vistok_protocol.errors import ErrorCode, VistokError

FAMILIES: dict[str, Callable[[], Quantizer]] = {
    "fsq": lambda: FSQ([8, 5, 4]),
    "fsq projected": lambda: FSQ([8, 8, 8, 5, 5, 5], dim=10),
    "lfq": lambda: LFQ(dim=9),
    "lfq projected": lambda: LFQ(dim=6, codebook_size=2**16),
    "lfq of 40 bits": lambda: LFQ(dim=40, entropy_loss_weight=0),
    "vq": lambda: VectorQuantize(7, 200),
    "vq cosine": lambda: VectorQuantize(8, 256, use_cosine_sim=True),
    "vq projected": lambda: VectorQuantize(12, 64, codebook_dim=4),
}

every_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())


def made(make: Callable[[], Quantizer]) -> Quantizer:
    torch.manual_seed(1)
    return make()


@every_family
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("space", [(5,), (4, 6), (2, 3, 4)])
def test_lookup_inverts_ids(make: Callable[[], Quantizer], space: tuple[int, ...], training: bool) -> None:
    quantizer = made(make).train(training)
    if isinstance(quantizer, VectorQuantize):
        quantizer.freeze_codebook = True
    result = quantizer.quantize_map(3 * torch.randn(2, quantizer.dim, *space))
    assert result.ids.shape == (2, *space)
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


@pytest.mark.parametrize("shape", [(2, 50, 12), (2, 12, 5, 7)])
def test_lfq_is_the_originals(shape: tuple[int, ...]) -> None:
    ours, theirs = LFQ(dim=12).eval(), original.LFQ(dim=12).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape)
    quantized, indices, _ = ours(x)
    expected = theirs(x)
    assert torch.equal(indices, expected[1])
    assert torch.equal(quantized, expected[0])
    assert torch.equal(ours.indices_to_codes(indices), quantized)


def brute_force_entropies(latents: Tensor, inverse_temperature: float) -> tuple[Tensor, Tensor]:
    """The definition: a softmax over every code, with a row of 2^d for each token."""
    bits = latents.shape[1]
    codes = ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1) * 2.0 - 1
    probability = (2 * inverse_temperature * latents @ codes.T).softmax(dim=1)
    own = torch.special.entr(probability).sum(dim=1).mean()
    return own, torch.special.entr(probability.mean(dim=0)).sum()


@given(bits=st.integers(1, 9), inverse_temperature=st.sampled_from([0.1, 0.5, 2.0]), gamma=st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_lfq_entropy_is_exact(bits: int, inverse_temperature: float, gamma: float) -> None:
    torch.manual_seed(bits)
    quantizer = LFQ(
        dim=bits, entropy_loss_weight=1.0, diversity_gamma=gamma, inv_temperature=inverse_temperature
    )
    latents = torch.randn(40, bits)
    own, batch = brute_force_entropies(latents, inverse_temperature)
    loss = quantizer.train()(latents[None]).entropy_aux_loss
    torch.testing.assert_close(loss, own - gamma * batch, rtol=1e-4, atol=1e-5)


def test_lfq_with_more_bits_than_fit_in_memory_asks_to_leave_the_entropy_out() -> None:
    with pytest.raises(VistokError, match="entropy_loss_weight=0"):
        LFQ(dim=36)


@pytest.mark.parametrize("cosine", [False, True])
def test_vq_trains_like_the_original(cosine: bool) -> None:
    torch.manual_seed(0)
    arguments = {"decay": 0.9, "use_cosine_sim": cosine}
    theirs = original.VectorQuantize(8, 64, **arguments)
    ours = VectorQuantize(8, 64, **arguments)
    ours.load_state_dict(theirs.state_dict())
    for _ in range(4):
        # Well-separated clusters, so that rounding decides no index.
        x = torch.randn(2, 256, 8) * 0.3 + 3 * torch.eye(8)[torch.randint(8, (2, 256))]
        _, indices, loss = ours(x)
        _, expected_indices, expected_loss = theirs(x)
        assert (indices == expected_indices).float().mean() > 0.99
        torch.testing.assert_close(loss, expected_loss.squeeze(), rtol=1e-2, atol=1e-3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(ours.codebook, theirs.codebook, rtol=1e-2, atol=2e-2)


def test_rotation_gives_the_originals_gradient() -> None:
    torch.manual_seed(0)
    ours, theirs = VectorQuantize(8, 64), original.VectorQuantize(8, 64)
    ours.load_state_dict(theirs.state_dict())
    gradients = []
    for quantizer in (ours, theirs):
        x = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
        (quantizer(x)[0] * torch.linspace(0, 1, 8)).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_kmeans_starts_the_codebook_in_the_data() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantize(2, 4, kmeans_init=True, decay=1.0)
    corners = torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]])
    x = corners.repeat(50, 1)[None] + 0.1 * torch.randn(1, 200, 2)
    before = quantizer.codebook.clone()
    quantizer.eval()(x)
    assert torch.equal(quantizer.codebook, before), "inference must not start a codebook"
    quantizer.train()(x)
    distance = torch.cdist(quantizer.codebook, corners).min(dim=1).values
    assert distance.max() < 6, "codes lie among the data"
    assert quantizer._codebook.initted


def test_dead_codes_come_back_to_the_data() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantize(4, 64, threshold_ema_dead_code=1, decay=0.5).train()
    for _ in range(12):
        quantizer(10 + torch.randn(1, 512, 4))
    used = quantizer(10 + torch.randn(1, 2048, 4)).indices.unique()
    assert len(used) > 48


def test_the_last_tile_counts_no_token_twice() -> None:
    """More tokens than one tile of the nearest search holds, and not a multiple of it."""
    torch.manual_seed(0)
    quantizer = VectorQuantize(4, 2**17).eval()
    tokens = torch.randn(1, 37, 4)
    exact = torch.cdist(tokens[0].double(), quantizer.codebook.double()).argmin(dim=1)
    assert (quantizer(tokens).indices[0] == exact).float().mean() > 0.9


def test_levels_below_three_are_refused() -> None:
    with pytest.raises(VistokError, match=r"got \[8, 2\]"):
        FSQ([8, 2])
