"""FSQ against the field's library, argument by argument, and where it goes further."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import FSQ
from vistok_protocol.errors import ErrorCode, VistokError

ARGUMENTS: list[dict[str, Any]] = [
    {"levels": [8, 8, 8, 5, 5, 5]},
    {"levels": (3, 4)},
    {"levels": [7], "dim": 6},
    {"levels": [8, 5, 5, 5], "dim": 6, "projection_has_bias": False},
    {"levels": [8, 5, 5, 5], "keep_num_codebooks_dim": True},
    {"levels": [8, 6, 5], "dim": 6, "num_codebooks": 3},
    {"levels": [4, 3], "num_codebooks": 3, "preserve_symmetry": True},
    {"levels": [2, 2, 2, 9], "preserve_symmetry": True},
    {"levels": [2, 16, 26, 27], "preserve_symmetry": True, "bound_hard_clamp": True},
    {"levels": [8, 5, 26, 42], "bound_hard_clamp": True},
    {"levels": [5, 5, 5], "orthogonal_rotation": True},
    {"levels": [5, 5], "dim": 6, "num_codebooks": 2, "orthogonal_rotation": True},
    {"levels": [6, 5], "channel_first": True},
    {"levels": [5, 3], "scale": 2.0, "force_quantization_f32": False, "allowed_dtypes": (torch.float32,)},
]


ATTRIBUTES = [
    *("dim", "codebook_dim", "codebook_size", "num_codebooks", "effective_codebook_dim"),
    *("keep_num_codebooks_dim", "has_projections", "scale", "return_indices", "preserve_symmetry"),
    *("noise_dropout", "bound_hard_clamp", "orthogonal_rotation", "allowed_dtypes", "force_quantization_f32"),
]


def pair(**arguments: Any) -> tuple[FSQ, original.FSQ]:
    torch.manual_seed(0)
    theirs = original.FSQ(**arguments)
    ours = FSQ(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def features_like(quantizer: FSQ, space: tuple[int, ...]) -> Tensor:
    leads = len(space) > 1 or bool(quantizer.channel_first)
    return 2 * torch.randn((3, quantizer.dim, *space) if leads else (3, *space, quantizer.dim))


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("space", [(50,), (5, 7), (2, 3, 4)])
@pytest.mark.parametrize("training", [False, True])
def test_fsq_is_the_originals(arguments: dict[str, Any], space: tuple[int, ...], training: bool) -> None:
    ours, theirs = (each.train(training) for each in pair(**arguments))
    x = features_like(ours, space)
    codes, indices = ours(x)
    expected_codes, expected_indices = theirs(x)
    assert indices.dtype == expected_indices.dtype
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(codes, expected_codes)
    decoded = ours.indices_to_codes(indices)
    assert torch.equal(decoded, codes)
    torch.testing.assert_close(decoded, theirs.indices_to_codes(expected_indices))


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_fsq_has_the_originals_gradients(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(**arguments)
    x = features_like(ours, (20,))
    gradients = []
    for quantizer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        (quantizer(leaf)[0] * x.cos()).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_fsq_has_the_originals_methods_and_attributes(arguments: dict[str, Any]) -> None:
    ours, theirs = pair(**arguments)
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    torch.testing.assert_close(ours.implicit_codebook, theirs.implicit_codebook)
    assert ours._levels.tolist() == theirs._levels.tolist()
    assert ours._basis.tolist() == theirs._basis.tolist()
    latents = 2 * torch.randn(4, 9, len(arguments["levels"]))
    torch.testing.assert_close(ours.quantize(latents), theirs.quantize(latents))
    every = torch.arange(ours.codebook_size)
    assert torch.equal(ours.codes_to_indices(ours.implicit_codebook), every.int())
    assert torch.equal(ours.indices_to_level_indices(every), theirs.indices_to_level_indices(every))
    for hard_clamp in (False, True):
        torch.testing.assert_close(
            ours.symmetry_preserving_bound(latents, hard_clamp),
            theirs.symmetry_preserving_bound(latents, hard_clamp),
        )
        if min(arguments["levels"]) > 2:
            torch.testing.assert_close(
                ours.bound(latents, 1e-2, hard_clamp), theirs.bound(latents, 1e-2, hard_clamp)
            )


def test_one_token_a_sample_which_the_original_refuses() -> None:
    for quantizer in (FSQ([8, 5]), FSQ([8, 5], channel_first=True)):
        x = torch.randn(6, 2)
        codes, indices = quantizer(x)
        assert indices.shape == (6,)
        assert torch.equal(codes, FSQ([8, 5])(x[None]).codes[0])
        assert torch.equal(quantizer.indices_to_codes(indices), codes)


def test_ids_by_hand() -> None:
    quantizer = FSQ([3, 4])
    # Levels -1 0 1, and -2 -1 0 1 halves: the second channel counts in threes.
    x = torch.tensor([[-9.0, -9.0], [0.0, 0.0], [9.0, 9.0], [9.0, -9.0]])
    assert quantizer(x).indices.tolist() == [0, 1 + 3 * 2, 2 + 3 * 3, 2]
    expected = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 0.5], [1.0, -1.0]])
    assert torch.equal(quantizer(x).codes, expected)
    assert quantizer(torch.zeros(1, 2)).codes.tolist() == [[0.0, 0.0]]


@given(st.lists(st.integers(2, 60), min_size=1, max_size=6), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_digit_comes_back(levels: list[int], symmetric: bool, hard: bool) -> None:
    levels = levels if symmetric else [max(size, 3) for size in levels]
    quantizer = FSQ(levels, preserve_symmetry=symmetric, bound_hard_clamp=hard)
    indices = torch.randint(quantizer.vocabulary_size, (1, 50))
    codes = quantizer.indices_to_codes(indices)
    assert codes.abs().max() <= 1
    assert torch.equal(quantizer.codes_to_indices(codes).long(), indices)
    digits = quantizer.indices_to_level_indices(indices)
    assert (digits >= 0).all()
    assert (digits < torch.tensor(levels)).all()
    # The outermost levels can be reached.
    for far in (-20.0, 20.0):
        reached = quantizer.indices_to_level_indices(quantizer(torch.full((1, 1, len(levels)), far)).indices)
        assert reached.flatten().tolist() == [0 if far < 0 else size - 1 for size in levels]


def test_more_than_31_bits() -> None:
    quantizer = FSQ([8] * 20)
    codes, indices = quantizer(torch.full((1, 3, 20), 9.0))
    assert indices.dtype == torch.int64
    assert indices.tolist() == [[2**60 - 1] * 3]
    assert torch.equal(quantizer.indices_to_codes(indices), codes)


def test_without_indices_the_vocabulary_may_be_of_any_size() -> None:
    quantizer, reference = FSQ([8] * 40, return_indices=False), FSQ([8] * 20)
    x = torch.randn(2, 40, 3, 4)
    codes, indices = quantizer(x)
    assert indices is None
    assert torch.equal(codes[:, :20], reference(x[:, :20]).codes)
    with pytest.raises(VistokError, match=r"at most 2\*\*62") as refused:
        quantizer.quantize_map(x)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    with pytest.raises(VistokError, match=r"at most\s+2\*\*62"):
        FSQ([8] * 40)


def test_noise_moves_codes_in_training_but_not_indices() -> None:
    quantizer = FSQ([5, 5, 5], preserve_symmetry=True, noise_dropout=0.5)
    x = torch.randn(2, 400, 3, requires_grad=True)
    codes, indices = quantizer.train()(x)
    clean = quantizer.indices_to_codes(indices)
    moved = (codes - clean).abs()
    assert 0.4 < (moved > 0).float().mean() < 0.6
    assert moved.max() <= 0.5
    assert codes.abs().max() <= 1
    codes.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert torch.equal(quantizer.eval()(x).codes, clean)
    assert torch.equal(quantizer(x).indices, indices)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_modules_decode_what_they_gave(dtype: torch.dtype) -> None:
    quantizer = FSQ([8, 5, 5], dim=6, num_codebooks=2).to(dtype).eval()
    with torch.no_grad():
        codes, indices = quantizer(torch.randn(2, 9, 6, dtype=dtype))
        assert codes.dtype == dtype
        assert torch.equal(quantizer.indices_to_codes(indices).to(dtype), codes)


def test_absent_codebooks_count_as_zero_and_absent_positions_are_zero() -> None:
    torch.manual_seed(0)
    quantizer = FSQ([5, 5], dim=6, num_codebooks=2)
    codes = quantizer.indices_to_codes(torch.tensor([[[3, 7], [3, -1], [-1, -1]]]))
    assert torch.equal(codes[0, 2], torch.zeros(6))
    latent = torch.cat([quantizer.implicit_codebook[3], torch.zeros(2)])
    torch.testing.assert_close(codes[0, 1], quantizer.project_out(latent))


@pytest.mark.parametrize("symmetric", [False, True])
def test_diversity_is_the_unused_share_of_entropy(symmetric: bool) -> None:
    levels = [3, 4]
    quantizer = FSQ(levels, preserve_symmetry=symmetric, diversity_weight=1.0).train()
    # Every combination of levels once: nothing is unused but what softness blurs; one code alone: all is.
    spread = torch.atanh(0.98 * quantizer.implicit_codebook)[None]
    assert quantizer.quantize_map(spread.mT).loss < 0.1
    alone = quantizer.quantize_map(spread[:, :1].expand(-1, 12, -1).mT).loss
    assert alone > 1.5
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[0, 0] = True
    torch.testing.assert_close(quantizer.quantize_map(spread.mT, mask).loss, alone, rtol=1e-4, atol=1e-4)
    assert quantizer.eval().quantize_map(spread.mT).loss == 0


def test_diversity_of_several_codebooks_is_their_mean() -> None:
    levels = [4, 3]
    one, two = (FSQ(levels, num_codebooks=k, diversity_weight=1.0).train() for k in (1, 2))
    x = torch.randn(2, 4, 30)
    parts = [one.quantize_map(x[:, channels]).loss for channels in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(two.quantize_map(x).loss, (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_fsq_is_exported_whole(hard: bool, symmetric: bool) -> None:
    quantizer = FSQ([5, 4], dim=4, num_codebooks=2, bound_hard_clamp=hard, preserve_symmetry=symmetric).eval()
    x = torch.randn(2, 4, 3, 3)
    exported = torch.export.export(quantizer, (x,)).module()(x)
    assert torch.equal(exported[1], quantizer(x).indices)
    torch.testing.assert_close(exported[0], quantizer(x).codes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": [8, 2]}, r"got \[8, 2\]"),
        ({"levels": [8, 1], "preserve_symmetry": True}, r"got \[8, 1\]"),
        ({"levels": []}, r"got \[\]"),
        ({"levels": [8.0, 8.0]}, r"got \[8.0, 8.0\]"),
        ({"levels": [8, 8], "noise_dropout": 0.1}, "noise_dropout=0.1"),
        ({"levels": [8, 8], "num_codebooks": 2, "keep_num_codebooks_dim": False}, "num_codebooks=2"),
        ({"levels": [8, 8], "num_codebooks": 0}, "num_codebooks=0"),
        ({"levels": [8] * 9, "diversity_weight": 0.1}, "diversity_weight=0"),
    ],
)
def test_what_makes_no_quantizer_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(VistokError, match=words) as refused:
        FSQ(**arguments)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
