"""VQ held against the field's library, argument by argument."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from torch import Tensor

from vistok.quantizers import VectorQuantize
from vistok_protocol.errors import VistokError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cosine": {"use_cosine_sim": True},
    "projected": {"codebook_dim": 6},
    "normalized after the projection": {"codebook_dim": 6, "layernorm_after_project_in": True},
    "heads": {"heads": 4, "codebook_dim": 5},
    "heads without projection": {"heads": 4, "codebook_dim": 4},
    "heads with a table each": {"heads": 4, "codebook_dim": 5, "separate_codebook_per_head": True},
    "cosine heads": {
        "heads": 2,
        "codebook_dim": 8,
        "separate_codebook_per_head": True,
        "use_cosine_sim": True,
    },
    "learned": {"learnable_codebook": True, "ema_update": False},
    "orthogonal": {"orthogonal_reg_weight": 1.0},
    "channels first": {"channel_last": False},
    "image": {"accept_image_fmap": True, "codebook_dim": 6},
    "video": {"accept_3d_fmap": True, "heads": 2, "codebook_dim": 8},
}
SHAPES: dict[str, tuple[int, ...]] = {
    "channels first": (2, 16, 30),
    "image": (2, 16, 5, 7),
    "video": (2, 16, 2, 5, 3),
}


def pair(arguments: dict[str, Any], size: int = 64) -> tuple[VectorQuantize, Any]:
    """Ours with the original's state, its codes spread over the data."""
    torch.manual_seed(0)
    theirs = original.VectorQuantize(16, size, **arguments)
    with torch.no_grad():
        spread = torch.randn_like(theirs._codebook.embed)
        theirs._codebook.embed.copy_(
            torch.nn.functional.normalize(spread, dim=-1) if theirs.use_cosine_sim else spread
        )
        theirs._codebook.embed_avg.copy_(theirs._codebook.embed)
    ours = VectorQuantize(16, size, **arguments)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def features(shape: tuple[int, ...] = (3, 40, 16), seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


each_arguments = pytest.mark.parametrize("case", ARGUMENTS)


@each_arguments
def test_ids_and_codes_are_the_originals(case: str) -> None:
    ours, theirs = (quantizer.eval() for quantizer in pair(ARGUMENTS[case]))
    for x in (features(SHAPES.get(case, (3, 40, 16))), features(SHAPES.get(case, (1, 7, 16)), seed=2)):
        codes, ids, loss = ours(x)
        expected_codes, expected_ids, _ = theirs(x)
        assert torch.equal(ids, expected_ids)
        torch.testing.assert_close(codes, expected_codes)
        assert float(loss) == 0
        torch.testing.assert_close(ours.get_output_from_indices(ids), codes)


@each_arguments
def test_its_state_dict_loads_into_the_original(case: str) -> None:
    ours, theirs = pair(ARGUMENTS[case])
    theirs.load_state_dict(ours.state_dict())


@each_arguments
def test_training_steps_are_the_originals(case: str) -> None:
    ours, theirs = pair(ARGUMENTS[case])
    for seed in range(3):
        losses, gradients = [], []
        for quantizer in (ours, theirs):
            x = features(SHAPES.get(case, (3, 40, 16)), seed).requires_grad_()
            codes, _, loss = quantizer(x)
            (codes.square().sum() + loss.sum()).backward()
            losses.append(loss.detach().squeeze())
            gradients.append(x.grad)
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "training"),
    [
        ({}, False),
        ({}, True),
        ({"use_cosine_sim": True}, False),
        # In training the original compares codes of several heads with features of another shape.
        ({"heads": 2, "codebook_dim": 8}, False),
    ],
)
def test_masks_are_the_originals(arguments: dict[str, Any], training: bool) -> None:
    ours, theirs = (quantizer.train(training) for quantizer in pair(arguments))
    x = features()
    lengths = torch.tensor([40, 3, 17])
    codes, ids, loss = ours(x, lens=lengths)
    expected_codes, expected_ids, expected_loss = theirs(x, lens=lengths)
    assert torch.equal(ids, expected_ids)
    assert (ids[1, 3:] == -1).all()
    torch.testing.assert_close(codes, expected_codes)
    torch.testing.assert_close(loss, expected_loss.squeeze())
    torch.testing.assert_close(ours.state_dict()["_codebook.embed"], theirs.state_dict()["_codebook.embed"])


@pytest.mark.parametrize(
    "arguments", [{"use_cosine_sim": True}, {"heads": 2, "codebook_dim": 8}, {"codebook_dim": 6}]
)
def test_masked_tokens_do_not_touch_the_loss_whatever_they_are(arguments: dict[str, Any]) -> None:
    """The original compares unit or projected codes with features that are neither."""
    ours, _ = pair({**arguments, "freeze_codebook": True})
    x, mask = features(), torch.rand(3, 40) > 0.5
    loss = ours(x, mask=mask).loss
    torch.testing.assert_close(ours(torch.where(mask[..., None], x, 100.0), mask=mask).loss, loss)


def test_masked_tokens_may_be_given_back() -> None:
    ours, _ = pair({"return_zeros_for_masked_padding": False})
    x = features()
    codes = ours.eval()(x, lens=torch.tensor([40, 3, 17])).quantized
    assert torch.equal(codes[1, 3:], x[1, 3:])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", ["plain", "cosine", "projected", "image"])
def test_the_nearest_several_are_the_originals(case: str, training: bool) -> None:
    ours, theirs = (quantizer.train(training) for quantizer in pair(ARGUMENTS[case]))
    x = features(SHAPES.get(case, (3, 40, 16)))
    codes, ids, loss = ours(x, topk=5)
    expected_codes, expected_ids, expected_loss = theirs(x, topk=5)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(codes, expected_codes)
    torch.testing.assert_close(loss, expected_loss)


def test_wanted_ids_are_answered_with_their_cross_entropy() -> None:
    for arguments in ({}, {"heads": 4, "codebook_dim": 5}, {"accept_image_fmap": True}):
        ours, theirs = (quantizer.eval() for quantizer in pair(arguments))
        x = features((2, 16, 5, 7)) if "accept_image_fmap" in arguments else features()
        wanted = torch.randint(64, ours(x).indices.shape)
        if "accept_image_fmap" in arguments:
            _, loss = ours(x, indices=wanted)
            _, expected = theirs(x, indices=wanted.flatten(1))
        else:
            _, loss = ours(x, indices=wanted)
            _, expected = theirs(x, indices=wanted)
        torch.testing.assert_close(loss, expected)


def test_commitment_by_cross_entropy_is_the_originals() -> None:
    ours, theirs = pair({"commitment_use_cross_entropy_loss": True, "rotation_trick": False})
    torch.testing.assert_close(ours(features()).loss, theirs(features())[2].squeeze())


def test_the_loss_comes_in_its_terms() -> None:
    ours, theirs = pair({"orthogonal_reg_weight": 10.0, "orthogonal_reg_active_codes_only": True})
    loss, terms = ours(features(), return_loss_breakdown=True)[2:]
    expected_loss, expected = theirs(features(), return_loss_breakdown=True)[2:]
    torch.testing.assert_close(loss, expected_loss.squeeze())
    torch.testing.assert_close(terms.orthogonal_reg, expected.orthogonal_reg)
    torch.testing.assert_close(terms.commitment, expected.commitment)


@pytest.mark.parametrize("as_function", [False, True])
def test_each_code_may_step_by_its_own_factor(as_function: bool) -> None:
    ours, theirs = pair({})
    factors = torch.rand(64)
    weight = (lambda sums, counts: factors) if as_function else factors
    for quantizer in (ours, theirs):
        quantizer(features(), ema_update_weight=weight)
    torch.testing.assert_close(ours.codebook, theirs.codebook)


def test_counts_may_be_held_back_over_several_batches() -> None:
    ours, theirs = pair({})
    for quantizer in (ours, theirs):
        before = quantizer.codebook.clone()
        quantizer(features(seed=3), accum_ema_update=True)
        quantizer(features(seed=4), accum_ema_update=True)
        torch.testing.assert_close(quantizer.codebook, before)
        quantizer(features(seed=5))
    torch.testing.assert_close(ours.codebook, theirs.codebook)


def test_indices_from_elsewhere_may_teach_the_codebook() -> None:
    ours, theirs = pair({"heads": 2, "codebook_dim": 8})
    ids = torch.randint(64, (3, 40, 2))
    for quantizer in (ours, theirs):
        quantizer.update_ema_indices(features(), ids)
    torch.testing.assert_close(ours.codebook, theirs.codebook)


def test_an_affine_codebook_moves_as_the_originals() -> None:
    ours, theirs = pair({"affine_param": True})
    for seed in range(4):
        x = 3 + 2 * features(seed=seed)
        torch.testing.assert_close(ours(x).quantized, theirs(x)[0], rtol=1e-4, atol=1e-4)
    trained = theirs.state_dict()
    ours.load_state_dict(trained)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ids = ours.eval()(x).indices
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())
    torch.testing.assert_close(ours.get_output_from_indices(ids), ours(x).quantized)


def test_the_codes_own_optimizer_steps_as_the_originals() -> None:
    ours, theirs = pair(
        {
            "learnable_codebook": True,
            "ema_update": False,
            "in_place_codebook_optimizer": lambda weights: torch.optim.SGD(weights, lr=5.0),
        }
    )
    for quantizer in (ours, theirs):
        quantizer(features())
    torch.testing.assert_close(ours.codebook, theirs.codebook)
    assert not torch.equal(ours.codebook, pair({})[0].codebook)


def test_a_bridge_maps_the_table_and_is_trained() -> None:
    bridge = torch.nn.Linear(16, 16)
    ours, theirs = pair({"vq_bridge": bridge})
    x = features()
    torch.testing.assert_close(ours.eval()(x).indices, theirs.eval()(x)[1])
    ours.train()(x).loss.backward()
    assert bridge.weight.grad is not None
    assert bridge.weight.grad.abs().sum() > 0


def test_noisy_directions_keep_the_distance_and_train_the_codes() -> None:
    """DiVeQ: with little noise the value is the code; gradients reach the codes."""
    ours, _ = pair(
        {"directional_reparam": True, "directional_reparam_variance": 1e-12, "threshold_ema_dead_code": 1}
    )
    x = features().requires_grad_()
    codes, ids, _ = ours(x)
    torch.testing.assert_close(codes, ours.codebook[ids], rtol=1e-3, atol=1e-3)
    codes.square().sum().backward()
    assert ours._codebook.embed.grad is not None


def test_samples_follow_the_softmax_of_the_logits() -> None:
    ours, _ = pair(
        {"stochastic_sample_codes": True, "freeze_codebook": True, "sample_codebook_temp": 0.5}, size=5
    )
    x = features((1, 1, 16)).expand(1, 40_000, 16)
    frequency = torch.bincount(ours(x).indices.flatten(), minlength=5) / 40_000
    distance = (x[0, :1] - ours.codebook).norm(dim=1)
    torch.testing.assert_close(frequency, (-distance / 0.5).softmax(dim=0), rtol=0, atol=0.02)
    assert len(ours(x, sample_codebook_temp=0.0).indices.unique()) == 1
    assert len(ours.eval()(x).indices.unique()) == 1


def test_soft_gradients_are_those_of_the_softmax() -> None:
    """Straight-through Gumbel; in the original the gradient of the softmax is thrown away."""
    ours, _ = pair(
        {
            "straight_through": True,
            "rotation_trick": False,
            "freeze_codebook": True,
            "commitment_weight": 0.0,
        },
        size=5,
    )
    x = features((1, 6, 16)).requires_grad_()
    codes, ids, _ = ours(x)
    assert torch.equal(codes, ours.codebook[ids])
    codes.sum().backward()
    expected = x.detach().clone().requires_grad_()
    ((-torch.cdist(expected, ours.codebook[None])).softmax(dim=-1) @ ours.codebook).sum().backward()
    torch.testing.assert_close(x.grad, expected.grad, rtol=1e-3, atol=1e-4)


def test_an_absent_head_leaves_its_part_zero() -> None:
    """In the original -1 decodes to the last code, and heads with a common table do not decode at all."""
    ours, _ = pair({"heads": 4, "codebook_dim": 4})
    ids = torch.tensor([[[3, -1, 5, -1], [-1, -1, -1, -1]]])
    codes = ours.get_output_from_indices(ids)
    assert torch.equal(codes[0, 0, :4], ours.codebook[3])
    assert (codes[0, 0, 4:8] == 0).all()
    assert (codes[0, 1] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"use_cosine_sim": True, "learnable_codebook": True}, "use_cosine_sim excludes a learned codebook"),
        ({"ema_update": True, "learnable_codebook": True}, "ema_update excludes"),
        ({"rotation_trick": True, "straight_through": True}, "at most one of"),
        ({"sync_update_v": 0.5}, "sync_update_v needs"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(VistokError, match=rule):
        VectorQuantize(16, 8, **arguments)
