"""LatentQuantize: against the field's library while its values are fresh, and right once they are trained."""

from functools import partial
from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import LatentQuantize
from vistok_protocol.errors import ErrorCode, VistokError

# The original numbers fresh values right where their spacing is exact in binary.
ARGUMENTS: list[dict[str, Any]] = [
    {"levels": [5, 5, 8], "dim": 16},
    {"levels": [5, 5, 8], "dim": 3},
    {"levels": (3, 4), "dim": 2, "optimize_values": False},
    {"levels": 5, "dim": 16, "codebook_dim": 3},
    {"levels": [4, 8, 16], "dim": 9, "num_codebooks": 3},
    {"levels": [5, 5, 8], "dim": 16, "num_codebooks": 4},
    {"levels": [8], "dim": 4, "keep_num_codebooks_dim": True},
    {"levels": [4, 4], "dim": 4, "commitment_loss_weight": 0.3, "quantization_loss_weight": 0.7},
    {"levels": [4, 4], "dim": 4, "commitment_loss_weight": 0.0, "quantization_loss_weight": 0.0},
]


def pair(**arguments: Any) -> tuple[LatentQuantize, original.LatentQuantize]:
    torch.manual_seed(0)
    theirs = original.LatentQuantize(**arguments)
    ours = LatentQuantize(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def trained(**arguments: Any) -> LatentQuantize:
    """One whose values are anywhere, in any order."""
    torch.manual_seed(1)
    quantizer = LatentQuantize(**arguments)
    for values in quantizer.parameters():
        values.data.normal_()
    return quantizer


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("space", [(50,), (5, 7), (2, 3, 4)])
@pytest.mark.parametrize("training", [False, True])
def test_latent_is_the_originals(arguments: dict[str, Any], space: tuple[int, ...], training: bool) -> None:
    ours, theirs = (each.train(training) for each in pair(**arguments))
    x = 0.4 * torch.randn(2, ours.dim, *space)
    quantized, indices, loss = ours(x)
    expected_quantized, expected_indices, expected_loss = theirs(x)
    assert indices.dtype == expected_indices.dtype
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(quantized, expected_quantized)
    torch.testing.assert_close(loss, expected_loss)
    assert torch.equal(ours.indices_to_codes(indices), quantized)
    for project_out in (True, False):
        expected = theirs.indices_to_codes(indices, project_out)
        torch.testing.assert_close(ours.indices_to_codes(indices, project_out), expected)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_latent_has_the_originals_methods_and_attributes(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(**arguments)
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("commitment_loss_weight", "quantization_loss_weight"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name).item())
    torch.testing.assert_close(ours.implicit_codebook, theirs.implicit_codebook)
    for mine, other in zip(ours.values_per_latent, theirs.values_per_latent, strict=True):
        torch.testing.assert_close(mine, other)
    latents = torch.randn(4, 9, ours.codebook_dim)
    torch.testing.assert_close(ours.quantize(latents), theirs.quantize(latents))
    every = torch.arange(ours.codebook_size, dtype=torch.int32)
    assert torch.equal(ours.codes_to_indices(ours.implicit_codebook), every)
    z, zhat = torch.randn(2, 3, 4).unbind()
    for reduce in ("mean", "sum"):
        assert ours.commitment_loss(z, zhat, reduce) == theirs.commitment_loss(z, zhat, reduce)
        assert ours.quantization_loss(z, zhat, reduce) == theirs.quantization_loss(z, zhat, reduce)


ATTRIBUTES = [
    *("dim", "codebook_dim", "codebook_size", "num_codebooks", "effective_codebook_dim"),
    *("keep_num_codebooks_dim", "has_projections"),
]


@given(
    levels=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    codebooks=st.integers(1, 3),
    projected=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_trained_values_are_chosen_numbered_and_decoded(
    levels: list[int], codebooks: int, projected: bool
) -> None:
    """Where the original numbers codes as if they were still evenly spaced, even below zero."""
    dim = len(levels) * codebooks + projected
    quantizer = trained(levels=levels, dim=dim, num_codebooks=codebooks).eval()
    x = torch.randn(2, dim, 5, 6)
    quantized, indices, _ = quantizer(x)
    latents = quantizer.project_in(x.movedim(1, -1)).unflatten(-1, (codebooks, len(levels)))
    expected = torch.zeros(2, 5, 6, codebooks, dtype=torch.int64)
    basis = 1
    for channel, values in enumerate(quantizer.values_per_latent):
        expected += basis * (latents[..., channel, None] - values).abs().argmin(dim=-1)
        basis *= len(values)
    assert torch.equal(indices.long().view(expected.shape), expected)
    assert torch.equal(quantizer.indices_to_codes(indices), quantized)
    codes = quantizer.implicit_codebook[indices.long()].view(2, 5, 6, -1)
    torch.testing.assert_close(quantizer.project_out(codes).movedim(-1, 1), quantized)


def test_the_readmes_sequences_and_codebooks() -> None:
    quantizer = LatentQuantize([5, 5, 8], dim=16)
    sequence = 0.4 * torch.randn(1, 32, 16)
    quantized, indices, _ = quantizer(sequence)
    assert quantized.shape == sequence.shape
    assert indices.shape == (1, 32)
    assert torch.equal(quantizer(sequence.mT).quantized, quantized.mT)
    assert torch.equal(quantizer(sequence.mT).indices, indices)
    several = LatentQuantize([4, 8, 16], dim=9, num_codebooks=3)
    quantized, indices, loss = several(torch.randn(2, 3, 9))
    assert quantized.shape == (2, 3, 9)
    assert indices.shape == (2, 3, 3)
    assert loss >= 0
    quantized, indices, _ = quantizer(sequence[0])
    assert quantized.shape == (32, 16)
    assert torch.equal(quantizer.indices_to_codes(indices), quantized)


def test_a_square_has_its_channels_first_unless_one_says_otherwise() -> None:
    x = torch.randn(2, 3, 3)
    theirs = original.LatentQuantize([5, 5, 8], dim=3)
    assert torch.equal(LatentQuantize([5, 5, 8], dim=3)(x).indices, theirs(x)[1])
    last = LatentQuantize([5, 5, 8], dim=3, channel_first=False)
    quantized, indices, _ = last(x)
    assert torch.equal(indices, theirs(x.mT)[1])
    assert torch.equal(last.indices_to_codes(indices), quantized)
    first = LatentQuantize([5, 5, 8], dim=3, channel_first=True)
    with pytest.raises(VistokError, match="d = 3") as refused:
        first(torch.randn(2, 5, 3))
    assert refused.value.code is ErrorCode.INVALID_SHAPE


def test_each_term_of_the_loss_moves_its_own_side() -> None:
    x = torch.randn(2, 2, 30)
    moved: dict[str, tuple[bool, bool]] = {}
    for term in ("commitment_loss_weight", "quantization_loss_weight"):
        weights = {"commitment_loss_weight": 0.0, "quantization_loss_weight": 0.0, term: 1.0}
        quantizer = LatentQuantize([5, 5], dim=2, **weights).train()
        leaf = x.clone().requires_grad_()
        quantizer(leaf).loss.backward()
        moves_values = all(values.grad is not None for values in quantizer.values_per_latent)
        moved[term] = (leaf.grad is not None, moves_values)
    assert moved == {"commitment_loss_weight": (True, False), "quantization_loss_weight": (False, True)}


def test_the_losss_gradients_by_hand() -> None:
    quantizer = LatentQuantize([2], dim=1, commitment_loss_weight=2.0, quantization_loss_weight=3.0).train()
    x = torch.tensor([[0.2, -0.9, 0.4]]).unsqueeze(0).requires_grad_()  # values are -0.5 and 0
    _, indices, loss = quantizer(x)
    assert indices.tolist() == [[1, 0, 1]]
    squares = 0.2**2 + 0.4**2 + 0.4**2
    assert loss.item() == pytest.approx(5 * squares / 3)
    loss.backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * 2 * torch.tensor([[[0.2, -0.4, 0.4]]]) / 3)
    torch.testing.assert_close(quantizer.values_per_latent[0].grad, 3 * 2 * torch.tensor([0.4, -0.6]) / 3)


@pytest.mark.parametrize(("dim", "share"), [(2, 0.5), (6, 0.99)])
def test_values_learn_in_place(dim: int, share: float) -> None:
    """Where the original raises an AttributeError. Projections that do not learn bound what values can do."""
    torch.manual_seed(0)
    quantizer = LatentQuantize(
        [4, 4], dim=dim, in_place_codebook_optimizer=partial(torch.optim.SGD, lr=1.0)
    ).train()
    before = [values.detach().clone() for values in quantizer.values_per_latent]
    x = 2 * torch.randn(4, dim, 50)
    losses = []
    for _ in range(30):
        leaf = x.clone().requires_grad_()
        quantized, indices, loss = quantizer(leaf)
        assert torch.equal(quantizer.indices_to_codes(indices), quantized)
        losses.append(loss.item())
        (loss + quantized.sum()).backward()
        assert leaf.grad is not None
        assert all(values.grad is None for values in quantizer.values_per_latent)
    assert losses[-1] < share * losses[0]
    assert all((a != b).any() for a, b in zip(before, quantizer.values_per_latent, strict=True))
    after = [values.detach().clone() for values in quantizer.values_per_latent]
    quantizer.eval()(x)
    with torch.no_grad():
        quantizer(x)
    assert all(torch.equal(a, b) for a, b in zip(after, quantizer.values_per_latent, strict=True))


def test_values_learn_in_place_from_what_the_mask_keeps() -> None:
    quantizer = LatentQuantize([2], dim=1, in_place_codebook_optimizer=partial(torch.optim.SGD, lr=0.5))
    x = torch.tensor([[[0.4, -9.0]]])
    _, ids, _ = quantizer.train().quantize_map(x, torch.tensor([[True, False]]))
    assert ids.tolist() == [[1, -1]]
    torch.testing.assert_close(quantizer.values_per_latent[0].detach(), torch.tensor([-0.5, 0.4]))
    loss = quantizer.quantize_map(x, torch.tensor([[False, False]])).loss
    assert loss == 0


def test_more_than_31_bits() -> None:
    quantizer = LatentQuantize(8, dim=20, codebook_dim=20)
    quantized, indices, _ = quantizer(torch.full((1, 20, 3), 9.0))
    assert indices.tolist() == [[2**60 - 1] * 3]
    assert torch.equal(quantizer.indices_to_codes(indices), quantized)


def test_absent_ids_are_zeros_and_half_precision_decodes_what_it_gave() -> None:
    quantizer = trained(levels=[3, 6], dim=5, num_codebooks=2).bfloat16().eval()
    with torch.no_grad():
        quantized, indices, _ = quantizer(torch.randn(2, 5, 3, 3, dtype=torch.bfloat16))
        assert torch.equal(quantizer.indices_to_codes(indices).bfloat16(), quantized)
        absent = torch.tensor([[[-1, -1], [4, -1]]])
        assert torch.equal(quantizer.indices_to_codes(absent)[0, :, 0], torch.zeros(5))
        assert quantizer.indices_to_codes(absent, project_out=False)[0, 2:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("arguments", [ARGUMENTS[2], ARGUMENTS[4]], ids=str)
def test_latent_is_exported_whole(arguments: dict[str, Any]) -> None:
    quantizer = LatentQuantize(**arguments).eval()
    x = torch.randn(2, quantizer.dim, 3, 3)
    quantized, indices, _ = torch.export.export(quantizer, (x,)).module()(x)
    assert torch.equal(indices, quantizer(x).indices)
    torch.testing.assert_close(quantized, quantizer(x).quantized)


def test_fixed_values_are_no_weights_but_can_be_read() -> None:
    quantizer = LatentQuantize([3, 4], dim=2, optimize_values=False)
    assert not list(quantizer.parameters())
    assert not quantizer.state_dict()
    values: list[Tensor] = list(quantizer.values_per_latent)
    assert [each.tolist() for each in values] == [[-0.5, 0, 0.5], [-0.5, -0.25, 0, 0.25]]
    assert torch.equal(quantizer.values_per_latent[-1], values[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": 5, "dim": 16}, "codebook_dim"),
        ({"levels": [5, 5], "dim": 16, "codebook_dim": 3}, "codebook_dim = 2"),
        ({"levels": [5, 1], "dim": 16}, r"got \[5, 1\]"),
        ({"levels": [8] * 21, "dim": 16}, r"2\*\*62"),
        (
            {
                "levels": [5],
                "dim": 1,
                "optimize_values": False,
                "in_place_codebook_optimizer": torch.optim.SGD,
            },
            "optimize_values",
        ),
    ],
)
def test_what_makes_no_quantizer_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(VistokError, match=words) as refused:
        LatentQuantize(**arguments)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_a_missing_width_is_a_runtime_error_as_in_the_original() -> None:
    with pytest.raises(RuntimeError):
        LatentQuantize(levels=5, dim=16)
