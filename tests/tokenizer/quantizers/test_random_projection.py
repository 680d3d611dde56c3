"""The random projection quantizer against the field's library, whose codes are too wide."""

import pytest
import torch
import torch.nn.functional as functional
import vector_quantize_pytorch as original

from vistok.quantizers import RandomProjectionQuantizer

SIZES = {"dim": 12, "codebook_size": 32, "codebook_dim": 5}


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("num_codebooks", [1, 4])
def test_state_dicts_of_the_original_load_and_give_its_labels(num_codebooks: int, norm: bool) -> None:
    torch.manual_seed(0)
    arguments = {**SIZES, "num_codebooks": num_codebooks, "norm": norm}
    theirs = original.RandomProjectionQuantizer(**arguments)
    ours = RandomProjectionQuantizer(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = 3 + torch.randn(2, 50, 12)
    labels = ours(x)
    assert torch.equal(labels, theirs(x))
    wanted = torch.randint(32, labels.shape)
    torch.testing.assert_close(ours(x, wanted), theirs(x, wanted))


def test_labels_are_the_nearest_codes_of_the_projections() -> None:
    torch.manual_seed(0)
    quantizer = RandomProjectionQuantizer(**SIZES, num_codebooks=4)
    x = 3 + torch.randn(2, 50, 12)
    normal = (x - x.mean(dim=-1, keepdim=True)) / x.var(dim=-1, keepdim=True, correction=0).add(1e-5).sqrt()
    projected = torch.einsum("bnd,hdc->bnhc", normal, quantizer.rand_projs)
    expected = torch.einsum("bnhc,hkc->bnhk", projected, quantizer.vq.codebook).argmax(dim=-1)
    labels = quantizer(x)
    assert torch.equal(labels, expected)
    chosen = torch.stack([quantizer.vq.codebook[head][labels[..., head]] for head in range(4)], dim=2)
    codes = quantizer.get_codes_from_indices(labels)
    assert torch.equal(codes, chosen.flatten(2))
    torch.testing.assert_close(codes.unflatten(2, (4, 5)).norm(dim=-1), torch.ones(2, 50, 4))
    assert (quantizer.get_codes_from_indices(torch.full((1, 1, 4), -1)) == 0).all()


def test_no_layer_is_wider_than_the_codes() -> None:
    sizes = {"dim": 512, "num_codebooks": 16, "codebook_dim": 256, "codebook_size": 1024}
    state = RandomProjectionQuantizer(**sizes).state_dict()
    assert not any("project" in key for key in state)
    assert sum(tensor.nbytes for tensor in state.values()) < 41 * 2**20


def test_a_state_dict_of_ours_loads_after_one_of_the_original() -> None:
    quantizer, other = (RandomProjectionQuantizer(**SIZES, num_codebooks=4) for _ in range(2))
    quantizer.load_state_dict(original.RandomProjectionQuantizer(**SIZES, num_codebooks=4).state_dict())
    quantizer.load_state_dict(other.state_dict())
    x = torch.randn(1, 20, 12)
    assert torch.equal(quantizer(x), other(x))


def test_codes_of_an_unknown_width_are_refused() -> None:
    wrong = RandomProjectionQuantizer(dim=12, codebook_size=32, codebook_dim=7, num_codebooks=4)
    with pytest.raises(RuntimeError, match="size mismatch"):
        RandomProjectionQuantizer(**SIZES, num_codebooks=4).load_state_dict(wrong.state_dict())


def test_training_changes_nothing() -> None:
    quantizer = RandomProjectionQuantizer(**SIZES, num_codebooks=4).train()
    before = {key: value.clone() for key, value in quantizer.state_dict().items()}
    x = torch.randn(2, 50, 12)
    labels = quantizer(x)
    quantizer(x, labels)
    assert all(torch.equal(value, before[key]) for key, value in quantizer.state_dict().items())
    assert not list(quantizer.parameters())


def test_half_precision_around_does_not_move_labels() -> None:
    torch.manual_seed(0)
    quantizer = RandomProjectionQuantizer(**SIZES, num_codebooks=4)
    x = torch.randn(2, 50, 12)
    expected = quantizer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer(x), expected)


def test_perfect_labels_are_closer_than_others() -> None:
    quantizer = RandomProjectionQuantizer(**SIZES, num_codebooks=4)
    x = torch.randn(2, 50, 12)
    labels = quantizer(x)
    assert quantizer(x, labels) < quantizer(x, (labels + 1) % 32)
    flat = quantizer.vq.codebook
    tokens = functional.layer_norm(x, (12,))
    vectors = functional.normalize(torch.einsum("bnd,hdc->bnhc", tokens, quantizer.rand_projs), dim=-1)
    logits = torch.einsum("bnhc,hkc->bnhk", vectors, flat)
    expected = functional.cross_entropy(logits.flatten(0, 2), labels.flatten())
    torch.testing.assert_close(quantizer(x, labels), expected)
