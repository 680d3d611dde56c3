"""FSP against the field's library, and what its perturbation does."""

import pytest
import torch
import vector_quantize_pytorch as original
from vector_quantize_pytorch.finite_scalar_perturbation import build_cdf_act

from vistok.quantizers.scalar.distributions import DISTRIBUTIONS
from vistok.quantizers.scalar.perturbation import FSP, MOMENT_TARGETS
from vistok_protocol.errors import VistokError

each_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)


@each_distribution
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dim", [None, 9])
def test_codes_and_indices_are_the_originals(name: str, inverse: bool, dim: int | None) -> None:
    torch.manual_seed(0)
    arguments = {"levels": [8, 5, 5, 3], "dim": dim, "act_name": name, "need_inv_act": inverse}
    ours, theirs = FSP(**arguments).eval(), original.FSP(**arguments).eval()
    ours.load_state_dict(theirs.state_dict())
    x = 2 * torch.randn(2, 300, dim or 4)
    codes, indices, _, info = ours(x)
    expected_codes, expected_indices, _, expected_info = theirs(x)
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(codes, expected_codes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.indices_to_codes(indices), codes)
    assert torch.equal(info["level_indices"], expected_info["level_indices"].long())
    torch.testing.assert_close(info["norm_info"], expected_info["norm_info"])


@pytest.mark.parametrize("targets", MOMENT_TARGETS)
def test_the_loss_is_the_originals(targets: str) -> None:
    x = 2 * torch.randn(2, 300, 2) + 1
    ours, theirs = (family([4, 4], vector_norm=targets).train() for family in (FSP, original.FSP))
    torch.testing.assert_close(ours(x).norm_loss, theirs(x)[2])
    assert float(ours.eval()(x).norm_loss) == 0


@each_distribution
def test_inverses_invert(name: str) -> None:
    values = torch.linspace(-3, 3, 101)
    cumulative, inverse = DISTRIBUTIONS[name]
    torch.testing.assert_close(inverse(cumulative(values)), values, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(cumulative(values), build_cdf_act(name)[0](values))


def test_values_stay_within_half_a_cell_of_where_they_were() -> None:
    torch.manual_seed(0)
    quantizer = FSP([4, 8], act_name="normal").train()
    x = torch.randn(1, 5_000, 2)
    probability = DISTRIBUTIONS["normal"].cumulative(x)
    moved = quantizer(x).codes / 12**0.5 + 0.5 - probability
    assert (moved.abs() <= 0.5 / torch.tensor([4, 8]) + 1e-6).all()
    assert moved[..., 0].std() > 0.05, "and they do move"


def test_the_share_that_is_rounded() -> None:
    torch.manual_seed(0)
    quantizer = FSP([4, 8], quantize_rate=0.25).train()
    x = torch.randn(1, 20_000, 2)
    codes, indices, _, _ = quantizer(x)
    rounded = torch.isclose(codes, quantizer.indices_to_codes(indices), atol=1e-5).float().mean()
    assert rounded == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "wrong", [{"levels": []}, {"act_name": "gauss"}, {"vector_norm": "?"}, {"quantize_rate": 1.5}]
)
def test_mistakes_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(VistokError, match=rf"FSP expects {next(iter(wrong))}"):
        FSP(**{"levels": [4, 4], **wrong})


def test_more_ids_than_int32_holds() -> None:
    quantizer = FSP([16] * 9).eval()
    _, indices, _, _ = quantizer(torch.full((1, 1, 9), 20.0))
    assert indices.tolist() == [[16**9 - 1]]
