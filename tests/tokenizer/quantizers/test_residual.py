"""Residual VQ against the field's library, and what that library cannot do."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st

from vistok.quantizers import ResidualVQ
from vistok_protocol.errors import ErrorCode, VistokError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {"num_quantizers": 4, "codebook_size": 64},
    "sizes": {"codebook_size": (8, 32, 64)},
    "projected": {"num_quantizers": 3, "codebook_size": 64, "codebook_dim": 4},
    "shared": {"num_quantizers": 4, "codebook_size": 64, "shared_codebook": True},
    "shared with dead codes": {
        "num_quantizers": 2,
        "codebook_size": 32,
        "shared_codebook": True,
        "threshold_ema_dead_code": 1e-9,
    },
    "cosine": {"num_quantizers": 3, "codebook_size": 64, "use_cosine_sim": True},
    "learned": {"num_quantizers": 3, "codebook_size": 32, "learnable_codebook": True, "ema_update": False},
    "gradients through residuals": {"num_quantizers": 3, "codebook_size": 32, "quant_grad_frac": 0.3},
    "straight through": {"num_quantizers": 3, "codebook_size": 32, "rotation_trick": False},
    "implicit": {"num_quantizers": 3, "codebook_size": 32, "implicit_neural_codebook": True},
    "implicit, wide": {
        "num_quantizers": 2,
        "codebook_size": 16,
        "implicit_neural_codebook": True,
        "mlp_kwargs": {"dim_hidden": 12, "depth": 2},
    },
    "beam": {"num_quantizers": 3, "codebook_size": 32, "beam_size": 4},
    "beam, weighted": {
        "num_quantizers": 3,
        "codebook_size": 32,
        "beam_size": 2,
        "eval_beam_size": 5,
        "use_cosine_sim": True,
        "beam_score_quantizer_weights": [1.0, 0.5, 2.0],
    },
    "dropout": {
        "num_quantizers": 8,
        "codebook_size": 16,
        "quantize_dropout": True,
        "quantize_dropout_cutoff_index": 1,
        "quantize_dropout_multiple_of": 3,
    },
}
every_argument = pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())


def pair(arguments: dict[str, Any]) -> tuple[ResidualVQ, Any]:
    """Ours and theirs with the same weights, handed over both ways."""
    torch.manual_seed(2)
    theirs = original.ResidualVQ(dim=8, **arguments)
    ours = ResidualVQ(dim=8, **arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@every_argument
def test_inference_is_the_originals(arguments: dict[str, Any]) -> None:
    ours, theirs = (each.eval() for each in pair(arguments))
    x = 0.3 * torch.randn(2, 50, 8)
    quantized, indices, losses, codes = ours(x, return_all_codes=True)
    expected = theirs(x, return_all_codes=True)
    assert torch.equal(indices, expected[1])
    torch.testing.assert_close(quantized, expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(codes, expected[3], rtol=0, atol=1e-6)
    assert losses.shape == expected[2].shape
    assert losses.count_nonzero() == 0
    torch.testing.assert_close(ours.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6)
    assert torch.equal(ours.ids_of_map(x.transpose(1, 2)), indices)


@every_argument
def test_training_is_the_originals(arguments: dict[str, Any]) -> None:
    ours, theirs = (each.train() for each in pair(arguments))
    x = 0.3 * torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(4))
    answers = []
    for quantizer in (ours, theirs):
        features = x.clone().requires_grad_()
        quantized, indices, losses = quantizer(features, rand_quantize_dropout_fixed_seed=3)
        ((quantized * torch.linspace(0, 1, 8)).sum() + losses.sum()).backward()
        answers.append((quantized, indices, losses, features.grad))
    (quantized, indices, losses, gradient), expected = answers
    assert torch.equal(indices, expected[1])
    torch.testing.assert_close(quantized, expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(losses, expected[2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected[3], rtol=1e-4, atol=1e-5)
    for name, weight in theirs.state_dict().items():
        if "beam_size" in arguments and not name.startswith("layers.0"):
            continue  # theirs teaches the first layer alone, see below
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    wanted = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, wanted[name].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_all_layers_learn_from_a_beam_search() -> None:
    ours, theirs = (each.train() for each in pair(ARGUMENTS["beam"]))
    x = 0.3 * torch.randn(2, 50, 8)
    codes = ours(x, return_all_codes=False)[1]
    residual = x
    for index, layer in enumerate(theirs.layers):
        chosen = theirs.codebooks[index][codes[..., index]]
        layer.update_indices(residual, codes[..., index])
        residual = residual - chosen
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("beam_size", [2, 8])
def test_a_beam_search_leaves_less(beam_size: int) -> None:
    quantizer = pair(ARGUMENTS["plain"])[0].eval()
    x = 0.3 * torch.randn(4, 200, 8)
    greedy, searched = quantizer(x)[0], quantizer(x, beam_size=beam_size)[0]
    assert (searched - x).square().mean() < (greedy - x).square().mean()


def test_implicit_codebooks_can_be_searched_with_a_beam() -> None:
    """The field's library crashes here."""
    arguments = {"num_quantizers": 3, "codebook_size": 16, "implicit_neural_codebook": True, "beam_size": 3}
    quantizer = pair(arguments)[0]
    for mode in (True, False):
        quantized, indices, _ = quantizer.train(mode)(torch.randn(2, 20, 8))
        assert indices.shape == (2, 20, 3)
        if not mode:
            torch.testing.assert_close(
                quantizer.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6
            )


@given(layers=st.integers(1, 6), kept=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_first_ids_alone_are_a_coarser_description(layers: int, kept: int, seed: int) -> None:
    torch.manual_seed(seed)
    quantizer = ResidualVQ(dim=6, num_quantizers=layers, codebook_size=16).eval()
    x = 0.3 * torch.randn(2, 7, 6)
    ids = quantizer(x)[1]
    kept = min(kept, layers)
    each = quantizer.get_codes_from_indices(ids)
    coarse = quantizer.get_output_from_indices(ids[..., :kept])
    torch.testing.assert_close(coarse, each[:kept].sum(dim=0), rtol=0, atol=1e-6)
    cut = ids.clone()
    cut[..., kept:] = -1
    assert torch.equal(quantizer.get_output_from_indices(cut), coarse)
    assert torch.equal(quantizer.get_codes_from_indices(ids[..., :kept])[:kept], each[:kept])


def test_an_absent_layer_adds_nothing() -> None:
    quantizer = ResidualVQ(dim=6, num_quantizers=3, codebook_size=16, codebook_dim=4).eval()
    ids = quantizer(torch.randn(2, 7, 6))[1]
    each = quantizer.get_codes_from_indices(ids)
    ids[..., 1] = -1
    expected = quantizer.project_out(each[0] + each[2])
    torch.testing.assert_close(quantizer.get_output_from_indices(ids), expected, rtol=0, atol=1e-6)
    assert quantizer.get_output_from_indices(torch.full_like(ids, -1)).count_nonzero() == 0


@pytest.mark.parametrize("codebook_dim", [None, 4])
def test_image_feature_maps(codebook_dim: int | None) -> None:
    """The field's library crashes on every one."""
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "dim": 8,
        "num_quantizers": 3,
        "codebook_size": 32,
        "codebook_dim": codebook_dim,
    }
    of_maps = ResidualVQ(accept_image_fmap=True, **arguments)
    of_sequences = ResidualVQ(**arguments)
    of_sequences.load_state_dict(of_maps.state_dict())
    x = torch.randn(2, 8, 5, 7)
    for mode in (True, False):
        quantized, indices, losses, codes = of_maps.train(mode)(x, return_all_codes=True)
        expected, expected_indices, expected_losses = of_sequences.train(mode)(x.flatten(2).transpose(1, 2))
        assert indices.shape == (2, 5, 7, 3)
        assert codes.shape == (3, 2, 5, 7, codebook_dim or 8)
        assert torch.equal(indices.flatten(1, 2), expected_indices)
        assert torch.equal(quantized.flatten(2).transpose(1, 2), expected)
        assert torch.equal(losses, expected_losses)
    torch.testing.assert_close(of_maps.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_masked_tokens_are_absent_and_teach_nothing(training: bool) -> None:
    ours, theirs = (each.train(training) for each in pair(ARGUMENTS["plain"]))
    x = torch.randn(2, 10, 8)
    mask = torch.arange(10) < torch.tensor([[10], [6]])
    quantized, indices, losses = ours(x, mask=mask)
    expected = theirs(x, mask=mask)
    assert torch.equal(indices, expected[1])
    assert indices[~mask].eq(-1).all()
    torch.testing.assert_close(quantized, expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(losses, expected[2], rtol=1e-5, atol=1e-6)
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-4, atol=1e-5, msg=name)


def test_masked_tokens_can_be_given_back() -> None:
    quantizer = ResidualVQ(dim=8, num_quantizers=2, codebook_size=16, return_zeros_for_masked_padding=False)
    x = torch.randn(2, 4, 8)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    output = quantizer.eval()(x, mask=mask)
    assert torch.equal(output[0][~mask], x[~mask])
    assert output.indices[~mask].eq(-1).all()


def test_a_frozen_stack_stays_as_it_is() -> None:
    """The constructor's argument, which the field's library forgets in stacks, and the call's."""
    for arguments, call in (({"freeze_codebook": True}, {}), ({}, {"freeze_codebook": True})):
        for shared in (False, True):
            quantizer = ResidualVQ(
                dim=4, num_quantizers=2, codebook_size=8, shared_codebook=shared, **arguments
            ).train()
            before = {name: weight.clone() for name, weight in quantizer.state_dict().items()}
            quantizer(torch.randn(2, 9, 4), **call)
            assert all(torch.equal(weight, before[name]) for name, weight in quantizer.state_dict().items())


def test_a_shared_codebook_that_learns_by_its_own_optimizer() -> None:
    quantizer = ResidualVQ(
        dim=4,
        num_quantizers=2,
        codebook_size=8,
        shared_codebook=True,
        learnable_codebook=True,
        ema_update=False,
        in_place_codebook_optimizer=lambda weights: torch.optim.SGD(weights, lr=0.5),
    ).train()
    before = quantizer.codebooks.clone()
    quantizer(torch.randn(2, 9, 4))
    assert not torch.equal(quantizer.codebooks, before)
    assert torch.equal(*quantizer.codebooks)


def test_diveq_is_noisy_in_training_alone() -> None:
    quantizer = ResidualVQ(
        dim=8, num_quantizers=2, codebook_size=16, diveq=True, threshold_ema_dead_code=1e-3
    )
    x = torch.randn(2, 5, 8, requires_grad=True)
    quantized, indices, losses = quantizer.eval()(x)
    assert torch.equal(quantizer.get_output_from_indices(indices), quantized)
    quantized, _, losses = quantizer.train()(x)
    assert not torch.equal(quantized, quantizer.eval()(x)[0])
    assert losses.count_nonzero() == 0
    quantized.square().sum().backward()
    assert x.grad is not None
    assert all(weight.grad.abs().sum() > 0 for weight in quantizer.parameters() if weight.grad is not None)


def test_wanted_ids_give_a_cross_entropy_by_hand() -> None:
    quantizer = ResidualVQ(dim=1, num_quantizers=2, codebook_size=2).eval()
    for layer, codes in zip(quantizer.layers, ([[0.0], [4.0]], [[-1.0], [1.0]]), strict=True):
        layer.codebook = torch.tensor(codes)
    x = torch.tensor([[[1.0]]])
    # Distances 1 and 3 to the first codes; what code 4 leaves over, -3, is 2 and 4 away from the second ones.
    first = torch.tensor([-1.0, -3.0]).log_softmax(0)[1]
    second = torch.tensor([-2.0, -4.0]).log_softmax(0)[0]
    quantized, loss = quantizer(x, indices=torch.tensor([[[1, 0]]]))
    torch.testing.assert_close(loss, -(first + second))
    assert quantized.item() == 3.0


@pytest.mark.parametrize("name", ["plain", "cosine", "implicit", "projected"])
def test_a_layers_cross_entropy_is_the_originals(name: str) -> None:
    """A layer's; with several of them the field's library crashes."""
    ours, theirs = (each.eval() for each in pair({**ARGUMENTS[name], "num_quantizers": 1}))
    x = torch.randn(2, 9, 8)
    wanted = torch.randint(32, (2, 9, 1))
    expected = theirs.layers[0](theirs.project_in(x), indices=wanted[..., 0])[1]
    torch.testing.assert_close(ours(x, indices=wanted)[1], expected)


def test_random_draws_decide_how_many_layers_a_batch_goes_through() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(
        dim=4, num_quantizers=6, codebook_size=8, quantize_dropout=True, quantize_dropout_cutoff_index=2
    ).train()
    depths = set()
    for _ in range(60):
        _, indices, losses = quantizer(torch.randn(2, 3, 4))
        depth = int((indices[0, 0] >= 0).sum())
        assert (indices[..., :depth] >= 0).all()
        assert (indices[..., depth:] == -1).all()
        assert losses[depth:].count_nonzero() == 0
        depths.add(depth)
    assert depths == {3, 4, 5, 6}
    assert (quantizer.eval()(torch.randn(2, 3, 4))[1] >= 0).all()


def test_kmeans_starts_every_layer_in_what_it_sees() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=3, num_quantizers=2, codebook_size=8, kmeans_init=True, beam_size=2).train()
    x = 5 + torch.randn(2, 100, 3)
    quantizer(x)
    quantized = quantizer.eval()(x)[0]
    assert (quantized - x).square().mean() < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_quantizers": 2, "codebook_size": 8, "heads": 2}, "heads must be 1"),
        ({"codebook_size": 8}, "num_quantizers"),
        ({"num_quantizers": 3, "codebook_size": (8, 9)}, "one codebook_size for each layer"),
        ({"codebook_size": (8, 9), "shared_codebook": True}, "shared_codebook"),
        ({"num_quantizers": 2, "codebook_size": 8, "eval_beam_size": 2}, "eval_beam_size"),
        (
            {
                "num_quantizers": 2,
                "codebook_size": 8,
                "quantize_dropout": True,
                "quantize_dropout_cutoff_index": 2,
            },
            "from 0 to 1",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(VistokError, match=message) as refused:
        ResidualVQ(dim=4, **arguments)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_ids_beyond_their_own_layers_size_are_refused() -> None:
    quantizer = ResidualVQ(dim=4, codebook_size=(4, 16))
    with pytest.raises(VistokError, match="codebook 0 from 0 to 3, or -1 for none, got 7"):
        quantizer.get_output_from_indices(torch.tensor([[[7, 15]]]))
    with pytest.raises(VistokError, match="k = 2"):
        quantizer.get_output_from_indices(torch.tensor([[[1, 2, 3]]]))


def test_half_precision_weights_and_features() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=6, num_quantizers=3, codebook_size=16, codebook_dim=4).eval().bfloat16()
    quantized, indices, _ = quantizer(torch.randn(2, 9, 6, dtype=torch.bfloat16))
    assert quantized.dtype == torch.bfloat16
    decoded = quantizer.get_output_from_indices(indices)
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded.bfloat16(), quantized)
