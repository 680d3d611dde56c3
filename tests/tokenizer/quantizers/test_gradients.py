"""Gradients by hand, by their defining properties, and by finite differences in float64."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.functional import jacobian

from vistok.quantizers import VectorQuantize
from vistok.quantizers.gradients import rotate_to, straight_through
from vistok.quantizers.scalar.diversity import batch_entropy, bit_entropies
from vistok.quantizers.vector.losses import entropies_of_choice, pull_together
from vistok.quantizers.vector.regularization import (
    cross_entropy,
    negative_entropy_of_mean,
    orthogonality_loss,
)


def through(rotation_trick: bool, features: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    """Give the features' gradient of the weighted sum of what a quantizer with these codes answers."""
    quantizer = VectorQuantize(
        features.shape[-1], len(codes), rotation_trick=rotation_trick, commitment_weight=0, ema_update=False
    ).train()
    quantizer.codebook = codes
    features.requires_grad_()
    (quantizer(features)[0] * weights).sum().backward()
    assert features.grad is not None
    return features.grad


# A quarter turn that makes half as long again, and a code in the same direction.
CODES = torch.tensor([[0.0, 3.0], [-4.0, 0.0]])
FEATURES = torch.tensor([[[2.0, 0.0], [-2.0, 0.0]]])
WEIGHTS = torch.tensor([[[5.0, 7.0], [5.0, 7.0]]])


def test_straight_through_by_hand() -> None:
    assert torch.equal(through(False, FEATURES.clone(), CODES, WEIGHTS), WEIGHTS)


def test_rotation_by_hand() -> None:
    """The transposed turn (x, y) -> (y, -x) of the weights, times 3 / 2; and 4 / 2 without a turn."""
    expected = torch.tensor([[[10.5, -7.5], [10.0, 14.0]]])
    torch.testing.assert_close(through(True, FEATURES.clone(), CODES, WEIGHTS), expected, atol=1e-4, rtol=0)


@given(seed=some.integers(0, 2**31), dim=some.integers(2, 9))
def test_the_rotation_is_one(seed: int, dim: int) -> None:
    """The Jacobian turns and scales, takes the input to its code, and leaves what is across as it was."""
    source, target, other = torch.randn(
        3, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    turn = jacobian(lambda x: rotate_to(x, target), source)
    scale = target.norm() / source.norm()
    torch.testing.assert_close(turn @ source, target)
    torch.testing.assert_close(turn.T @ turn, scale**2 * torch.eye(dim, dtype=torch.float64))
    plane, _ = torch.linalg.qr(torch.stack([source, target], dim=1))
    across = other - plane @ (plane.T @ other)
    torch.testing.assert_close(turn @ across, scale * across)


@pytest.mark.parametrize("estimate", [straight_through, rotate_to])
def test_the_value_is_the_code_itself(estimate: Callable[[Tensor, Tensor], Tensor]) -> None:
    inputs, codes = torch.randn(2, 50, 8) * 1e3
    assert torch.equal(estimate(inputs, codes), codes)


def doubles(*shape: int) -> Tensor:
    return torch.randn(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()


def test_losses_by_finite_differences() -> None:
    tokens, codes = doubles(5, 3), doubles(7, 3)
    assert gradcheck(lambda x, c: entropies_of_choice(x, c, 0.7), (tokens, codes))
    assert gradcheck(bit_entropies, (doubles(6, 2, 5),))
    assert gradcheck(lambda x: batch_entropy(x.softmax(dim=-1).unbind(dim=1)), (doubles(6, 3, 4),))
    assert gradcheck(orthogonality_loss, (doubles(2, 5, 3),))
    assert gradcheck(lambda scores: negative_entropy_of_mean(scores, None), (doubles(2, 6, 4),))
    ids = torch.tensor([[0, 3, -1, 2, 1, 1]])
    assert gradcheck(lambda scores: cross_entropy(scores, ids), (doubles(1, 6, 4),))


def test_each_half_of_the_loss_moves_its_own_side() -> None:
    features, codes = doubles(1, 4, 3), doubles(1, 4, 3) + 1
    codes.retain_grad()
    pull_together(features, codes, None, codes_weight=2.0, features_weight=0.5).backward()
    difference = (features - codes).detach() / 12
    torch.testing.assert_close(features.grad, 2 * 0.5 * difference)
    torch.testing.assert_close(codes.grad, -2 * 2.0 * difference)
