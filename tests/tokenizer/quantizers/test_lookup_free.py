"""LFQ against the field's library, argument by argument, and its entropies against their definition."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vistok.quantizers import LFQ
from vistok_protocol.errors import ErrorCode, VistokError

ARGUMENTS: list[dict[str, Any]] = [
    {"dim": 12},
    {"codebook_size": 64},
    {"dim": 6, "codebook_size": 256},
    {"dim": 6, "codebook_size": 256, "projection_has_bias": False},
    {"dim": 4, "codebook_size": 16, "has_projections": True},
    {"codebook_size": 8, "num_codebooks": 3},
    {"dim": 5, "codebook_size": 8, "num_codebooks": 2},
    {"dim": 5, "keep_num_codebooks_dim": True},
    {"dim": 7, "codebook_scale": 0.5},
    {"dim": 7, "spherical": True},
    {"codebook_size": 16, "num_codebooks": 2, "spherical": True, "codebook_scale": 3.0},
    {"dim": 5, "soft_clamp_input_value": 1.5},
    {"dim": 9, "codebook_size": 32, "cosine_sim_project_in": True},
    {"dim": 9, "codebook_size": 32, "cosine_sim_project_in": True, "cosine_sim_project_in_scale": 4.0},
    {"dim": 6, "orthogonal_rotation": True},
    {"dim": 5, "codebook_size": 8, "num_codebooks": 2, "orthogonal_rotation": True, "spherical": True},
    {"dim": 4, "channel_first": True},
    {"dim": 6, "straight_through_activation": nn.Tanh(), "force_quantization_f32": False},
]
LOSSES: list[dict[str, Any]] = [
    {},
    {"entropy_loss_weight": 0.3, "diversity_gamma": 2.0, "commitment_loss_weight": 0.25},
    {"entropy_loss_weight": 0.0, "commitment_loss_weight": 1.0},
    {"experimental_softplus_entropy_loss": True, "entropy_loss_offset": 2.0},
]


def pair(**arguments: Any) -> tuple[LFQ, original.LFQ]:
    torch.manual_seed(0)
    theirs = original.LFQ(**arguments)
    ours = LFQ(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def features_like(quantizer: LFQ, space: tuple[int, ...]) -> Tensor:
    leads = len(space) > 1 or bool(quantizer.channel_first)
    return torch.randn((3, quantizer.dim, *space) if leads else (3, *space, quantizer.dim))


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("space", [(50,), (5, 7), (2, 3, 4)])
def test_lfq_is_the_originals(arguments: dict[str, Any], space: tuple[int, ...]) -> None:
    ours, theirs = (each.eval() for each in pair(**arguments))
    x = features_like(ours, space)
    quantized, indices, loss = ours(x)
    expected_quantized, expected_indices, expected_loss = theirs(x)
    assert indices.dtype == expected_indices.dtype
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(quantized, expected_quantized)
    assert loss == expected_loss == 0
    for project_out in (True, False):
        decoded = ours.indices_to_codes(indices, project_out)
        torch.testing.assert_close(decoded, theirs.indices_to_codes(indices, project_out))
    assert torch.equal(ours.indices_to_codes(indices), quantized)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("losses", LOSSES, ids=str)
def test_lfq_trains_like_the_original(arguments: dict[str, Any], losses: dict[str, Any]) -> None:
    """At a temperature at which the original's floor of 1e-5 under probabilities is out of play.

    With a mask of tokens rather than samples it takes each token for a batch of its own.
    """
    ours, theirs = (each.train() for each in pair(**arguments, **losses))
    x = features_like(ours, (30,))
    mask = torch.tensor([True, False, True])
    results = []
    for quantizer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        output, terms = quantizer(leaf, inv_temperature=0.1, return_loss_breakdown=True, mask=mask)
        (output[2] + (output[0] * x.cos()).sum()).backward()
        results.append((*output, *terms, leaf.grad))
    for ours_gave, theirs_gave in zip(*results, strict=True):
        torch.testing.assert_close(ours_gave, theirs_gave, rtol=2e-4, atol=2e-5)


def test_lfq_has_the_originals_attributes() -> None:
    for arguments in ARGUMENTS:
        ours, theirs = pair(**arguments)
        for name in ATTRIBUTES:
            assert getattr(ours, name) == getattr(theirs, name), name
        assert torch.equal(ours.codebook, theirs.codebook)
        bits = torch.randint(2, (3, 4)).float()
        assert torch.equal(ours.bits_to_codes(bits), theirs.bits_to_codes(bits))


ATTRIBUTES = [
    *("dim", "codebook_dim", "codebook_size", "num_codebooks", "keep_num_codebooks_dim", "has_projections"),
    *("channel_first", "spherical", "orthogonal_rotation", "frac_per_sample_entropy", "diversity_gamma"),
    *("entropy_loss_weight", "codebook_scale", "commitment_loss_weight", "soft_clamp_input_value"),
    *("entropy_loss_offset", "experimental_softplus_entropy_loss", "force_quantization_f32", "dtype"),
]


def test_one_token_a_sample_and_zero_which_is_negative() -> None:
    quantizer = LFQ(dim=3)
    quantized, indices, _ = quantizer.eval()(torch.tensor([[1.0, -1.0, 2.0], [0.0, 3.0, -0.0]]))
    assert indices.tolist() == [0b101, 0b010]
    assert quantized.tolist() == [[1, -1, 1], [-1, 1, -1]]
    assert torch.equal(quantizer.indices_to_codes(indices), quantized)


def test_more_than_31_bits() -> None:
    quantizer = LFQ(dim=62, entropy_loss_weight=0).eval()
    x = torch.ones(1, 2, 62)
    x[0, 1, 0] = -1
    quantized, indices, _ = quantizer(x)
    assert indices.tolist() == [[2**62 - 1, 2**61 - 1]]
    assert torch.equal(quantizer.indices_to_codes(indices), quantized)


def test_huge_features_keep_their_signs_on_the_sphere() -> None:
    x = torch.tensor([[[1e30, -1e30, 1e-30]]])
    assert LFQ(dim=3, spherical=True).eval()(x).indices.item() == 0b101


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
    by_call = LFQ(dim=bits, entropy_loss_weight=1.0, diversity_gamma=gamma)(
        latents[None], inv_temperature=inverse_temperature
    )
    assert torch.equal(by_call.entropy_aux_loss, loss)


def test_entropy_of_18_bits_is_whole_where_every_code_is_rare() -> None:
    """Random tokens of undecided bits: the batch is uniform over 2^18 codes, each below 1e-5."""
    terms = LFQ(dim=18).train()(torch.zeros(1, 4, 18), return_loss_breakdown=True)[1]
    torch.testing.assert_close(terms.batch_entropy, 18 * torch.tensor(2.0).log())
    torch.testing.assert_close(terms.per_sample_entropy, 18 * torch.tensor(2.0).log())


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_masks_of_any_grain_concern_the_loss_alone(fraction: float) -> None:
    torch.manual_seed(0)
    quantizer = LFQ(dim=4, commitment_loss_weight=1.0, frac_per_sample_entropy=fraction, inv_temperature=0.3)
    x = torch.randn(2, 4, 6, 5)
    whole = quantizer(x)
    for mask in (
        torch.tensor([True, False]),
        torch.tensor([True, False])[:, None].expand(2, 30),
        torch.tensor([True, False])[:, None, None].expand(2, 6, 5),
    ):
        torch.manual_seed(1)
        result = quantizer(x, mask=mask)
        torch.manual_seed(1)
        torch.testing.assert_close(result.entropy_aux_loss, quantizer(x[:1]).entropy_aux_loss)
        assert torch.equal(result.indices, whole.indices)
        assert torch.equal(result.quantized, whole.quantized)
    assert quantizer(x, mask=torch.tensor([False, False])).entropy_aux_loss == 0
    with pytest.raises(VistokError, match="mask") as refused:
        quantizer(x, mask=torch.ones(2, 7, dtype=torch.bool))
    assert refused.value.code is ErrorCode.INVALID_SHAPE


def test_a_fraction_of_the_tokens_estimates_the_entropy_of_all() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1000, 5)
    whole = LFQ(dim=5)(x, 0.3, return_loss_breakdown=True)[1]
    part = LFQ(dim=5, frac_per_sample_entropy=0.2)
    estimates = torch.stack([part(x, 0.3, return_loss_breakdown=True)[1][0] for _ in range(20)])
    assert estimates.std() > 0
    assert (estimates.mean() - whole.per_sample_entropy).abs() < 0.05


def test_the_breakdown_tells_entropies_that_weigh_nothing() -> None:
    output, terms = LFQ(dim=4, entropy_loss_weight=0)(torch.randn(1, 9, 4), 0.3, return_loss_breakdown=True)
    assert terms.batch_entropy > terms.per_sample_entropy > 0
    assert output.entropy_aux_loss == 0


def test_absent_codebooks_count_as_zero_and_absent_positions_are_zero() -> None:
    torch.manual_seed(0)
    quantizer = LFQ(dim=5, codebook_size=4, num_codebooks=2)
    indices = torch.tensor([[[3, 1], [3, -1], [-1, -1]]])
    latents = quantizer.indices_to_codes(indices, project_out=False)
    assert latents.tolist() == [[[1, 1, -1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]]
    codes = quantizer.indices_to_codes(indices)
    torch.testing.assert_close(codes[:, :2], quantizer.project_out(latents[:, :2]))
    assert torch.equal(codes[0, 2], torch.zeros(5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_modules_decode_what_they_gave(dtype: torch.dtype) -> None:
    quantizer = LFQ(dim=6, codebook_size=16, num_codebooks=2, spherical=True).to(dtype).eval()
    with torch.no_grad():
        quantized, indices, _ = quantizer(torch.randn(2, 6, 3, 3, dtype=dtype))
        assert quantized.dtype == dtype
        assert torch.equal(quantizer.indices_to_codes(indices).to(dtype), quantized)


@pytest.mark.parametrize("arguments", [ARGUMENTS[6], ARGUMENTS[12], ARGUMENTS[15]], ids=str)
def test_lfq_is_exported_whole(arguments: dict[str, Any]) -> None:
    quantizer = LFQ(**arguments).eval()
    x = torch.randn(2, quantizer.dim, 3, 3)
    quantized, indices, _ = torch.export.export(quantizer, (x,)).module()(x)
    assert torch.equal(indices, quantizer(x).indices)
    torch.testing.assert_close(quantized, quantizer(x).quantized)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "got neither"),
        ({"codebook_size": 100}, "power of two .* got 100"),
        ({"dim": 36}, "entropy_loss_weight=0"),
        ({"dim": 5, "codebook_size": 16, "has_projections": False}, "dim = 4"),
        ({"dim": 5, "frac_per_sample_entropy": 0.0}, "frac_per_sample_entropy"),
        ({"dim": 5, "soft_clamp_input_value": 0.5}, "at most 0.5, got 1.0"),
        ({"dim": 5, "num_codebooks": 2, "keep_num_codebooks_dim": False}, "num_codebooks=2"),
    ],
)
def test_what_makes_no_quantizer_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(VistokError, match=words) as refused:
        LFQ(**arguments)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
