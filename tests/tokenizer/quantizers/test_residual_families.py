"""Stacks of FSQ, LFQ and SimVQ against the field's library."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from torch import Tensor

from vistok.quantizers import ResidualFSQ, ResidualLFQ, ResidualSimVQ
from vistok_protocol.errors import VistokError

DROPOUT = {"quantize_dropout": True, "quantize_dropout_cutoff_index": 1, "quantize_dropout_multiple_of": 2}

CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "fsq": (ResidualFSQ, original.ResidualFSQ, {"levels": [5, 5, 3, 3], "num_quantizers": 4}),
    "fsq projected": (
        ResidualFSQ,
        original.ResidualFSQ,
        {"levels": [8, 5, 2], "num_quantizers": 3, "dim": 6},
    ),
    "fsq of tangents": (
        ResidualFSQ,
        original.ResidualFSQ,
        {
            "levels": [4, 7],
            "num_quantizers": 3,
            "dim": 6,
            "bound_hard_clamp": False,
            "soft_clamp_input_value": [1.5, 2.0],
        },
    ),
    "fsq dropout": (
        ResidualFSQ,
        original.ResidualFSQ,
        {"levels": [8, 5], "num_quantizers": 6, "dim": 6, **DROPOUT},
    ),
    "lfq": (ResidualLFQ, original.ResidualLFQ, {"dim": 8, "num_quantizers": 4, "codebook_size": 2**8}),
    "lfq projected": (
        ResidualLFQ,
        original.ResidualLFQ,
        {"dim": 6, "num_quantizers": 3, "codebook_size": 2**5, "commitment_loss_weight": 0.25},
    ),
    "lfq clamped": (
        ResidualLFQ,
        original.ResidualLFQ,
        {"dim": 6, "num_quantizers": 3, "codebook_size": 2**6, "soft_clamp_input_value": 1.5},
    ),
    "lfq dropout": (
        ResidualLFQ,
        original.ResidualLFQ,
        {"dim": 6, "num_quantizers": 5, "codebook_size": 2**6, **DROPOUT},
    ),
    "sim vq": (ResidualSimVQ, original.ResidualSimVQ, {"dim": 6, "num_quantizers": 3, "codebook_size": 64}),
    "sim vq straight through": (
        ResidualSimVQ,
        original.ResidualSimVQ,
        {"dim": 6, "num_quantizers": 2, "codebook_size": 32, "rotation_trick": False},
    ),
    "sim vq dropout": (
        ResidualSimVQ,
        original.ResidualSimVQ,
        {"dim": 6, "num_quantizers": 6, "codebook_size": 16, **DROPOUT},
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def pair(case: tuple[type, type, dict[str, Any]]) -> tuple[Any, Any, Tensor]:
    """Ours and theirs with the same weights, and features for them."""
    ours_class, theirs_class, arguments = case
    torch.manual_seed(1)
    ours, theirs = ours_class(**arguments), theirs_class(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs, 2 * torch.randn(2, 40, ours.dim)


@every_case
def test_inference_is_the_originals(case: tuple[type, type, dict[str, Any]]) -> None:
    ours, theirs, x = pair(case)
    answer, expected = ours.eval()(x, return_all_codes=True), theirs.eval()(x, return_all_codes=True)
    assert torch.equal(answer[1], expected[1])
    assert answer[1].dtype == expected[1].dtype
    torch.testing.assert_close(answer[0], expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(answer[-1], expected[-1], rtol=0, atol=1e-5)
    assert len(answer) == len(expected)
    if len(answer) == 4:
        assert answer[2].shape == expected[2].shape
        assert answer[2].count_nonzero() == 0
    decoded = ours.get_output_from_indices(answer[1])
    torch.testing.assert_close(decoded, answer[0], rtol=0, atol=1e-6)
    codebooks, expected_codebooks = ours.codebooks, theirs.codebooks
    torch.testing.assert_close(codebooks, expected_codebooks, rtol=0, atol=1e-6)


@every_case
def test_training_is_the_originals(case: tuple[type, type, dict[str, Any]]) -> None:
    ours, theirs, x = pair(case)
    answers = []
    for quantizer in (ours.train(), theirs.train()):
        features = x.clone().requires_grad_()
        quantized, indices, *losses = quantizer(features, rand_quantize_dropout_fixed_seed=5)
        loss = (quantized * torch.linspace(0, 1, x.shape[-1])).sum() + sum(each.sum() for each in losses)
        loss.backward()
        answers.append((quantized, indices, features.grad, *losses))
    for value, expected in zip(*answers, strict=True):
        if value.is_floating_point():
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)
        else:
            assert torch.equal(value, expected)


@pytest.mark.parametrize("space", [(7,), (4, 5), (2, 3, 4)])
def test_residual_fsq_with_channels_first_decodes_its_own_indices(space: tuple[int, ...]) -> None:
    """The field's library gives the same indices, and cannot decode them."""
    arguments: dict[str, Any] = {"levels": [5, 4], "num_quantizers": 3, "dim": 6, "is_channel_first": True}
    ours, theirs, _ = pair((ResidualFSQ, original.ResidualFSQ, arguments))
    x = torch.randn(2, 6, *space)
    quantized, indices, codes = ours.eval()(x, return_all_codes=True)
    expected, expected_indices = theirs.eval()(x)
    assert indices.shape == (2, 3, *space)
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(quantized, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6)
    assert codes.shape == (3, 2, *space, 2)
    coarse = ours.get_output_from_indices(indices[:, :2])
    torch.testing.assert_close(coarse, ours.project_out(codes[:2].sum(0)).movedim(-1, 1), rtol=0, atol=1e-6)


def test_residual_sim_vq_with_channels_first() -> None:
    arguments: dict[str, Any] = {"dim": 6, "num_quantizers": 3, "codebook_size": 32, "channel_first": True}
    ours, theirs, _ = pair((ResidualSimVQ, original.ResidualSimVQ, arguments))
    x = torch.randn(2, 6, 4, 5)
    answer, expected = ours.eval()(x, return_all_codes=True), theirs.eval()(x, return_all_codes=True)
    assert torch.equal(answer[1], expected[1])
    torch.testing.assert_close(answer[0], expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(answer[3], expected[3], rtol=0, atol=1e-6)
    assert torch.equal(ours.get_output_from_indices(answer[1]), answer[0])
    assert ours.codebook_dim == 6


def test_rotated_and_spherical_layers_decode() -> None:
    """The field's library decodes both by tables that are neither rotated nor scaled."""
    x = torch.randn(2, 9, 4)
    stacks = (
        ResidualFSQ(levels=[5] * 4, num_quantizers=3, orthogonal_rotation=True),
        ResidualLFQ(dim=4, num_quantizers=3, codebook_size=16, spherical=True),
    )
    for stack in stacks:
        output = stack.eval()(x)
        assert torch.equal(stack.get_output_from_indices(output[1]), output[0])


def test_masked_tokens_are_absent() -> None:
    quantizer = ResidualLFQ(dim=6, num_quantizers=3, codebook_size=16)
    x = torch.randn(2, 5, 6)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    for mode in (True, False):
        quantized, indices, _ = quantizer.train(mode)(x, mask=mask)
        assert indices[~mask].eq(-1).all()
        assert quantized[~mask].count_nonzero() == 0
    padded = quantizer.train()(torch.where(mask[..., None], x, 99.0), mask=mask)
    torch.testing.assert_close(padded[2], quantizer.train()(x, mask=mask)[2])
    assert torch.equal(padded[1][mask], indices[mask])


def test_each_layer_divides_the_steps_of_the_one_before() -> None:
    """Three levels: -1, 0, 1, then a third of these, and so on."""
    quantizer = ResidualFSQ(levels=[3], num_quantizers=3).eval()
    decoded = quantizer.get_output_from_indices(torch.tensor([[[2, 0, 1]], [[1, 2, 2]]]))
    torch.testing.assert_close(decoded.flatten(), torch.tensor([1 - 1 / 3, 1 / 3 + 1 / 9]))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            ResidualFSQ,
            {"levels": [5], "num_quantizers": 2, "soft_clamp_input_value": 2.0},
            "bound_hard_clamp",
        ),
        (ResidualFSQ, {"levels": [5], "num_quantizers": 0}, "at least one layer"),
        (ResidualFSQ, {"levels": [5], "num_quantizers": 2, "num_codebooks": 2}, "one id per token"),
        (ResidualLFQ, {"dim": 4, "num_quantizers": 2, "codebook_size": 12}, "power of two"),
        (ResidualSimVQ, {"dim": 4, "num_quantizers": 2, "codebook_size": 12, "heads": 2}, "heads = 2"),
    ],
)
def test_what_cannot_be_is_refused(make: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(VistokError, match=message):
        make(**arguments)
