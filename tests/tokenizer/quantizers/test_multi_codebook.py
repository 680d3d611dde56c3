"""Multi-codebook VQ against the formulas of UniTok and FQ."""

import pytest
import torch
import torch.nn.functional as functional

from vistok.quantizers import MultiCodebookVQ
from vistok.quantizers.vector.losses import entropies_of_choice
from vistok_protocol.errors import VistokError


def test_each_chunk_takes_the_direction_from_its_own_table() -> None:
    quantizer = MultiCodebookVQ(4, 2, num_codebooks=2).eval()
    with torch.no_grad():
        quantizer.codebook[0] = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
        quantizer.codebook[1] = torch.tensor([[0.0, -2.0], [0.0, 2.0]])
    features = torch.tensor([[5.0, 1.0, 7.0, -1.0], [1.0, 5.0, 7.0, 1.0]]).T[None]
    codes, ids, loss = quantizer.quantize_map(features)
    assert ids.tolist() == [[[0, 0], [1, 1]]]
    assert codes[0].T.tolist() == [[1.0, 0.0, 0.0, -1.0], [0.0, 1.0, 0.0, 1.0]], "unit codes"
    assert loss == 0


@pytest.mark.parametrize("num_codebooks", [1, 2, 3])
def test_loss_and_gradients_are_those_of_the_formula(num_codebooks: int) -> None:
    torch.manual_seed(0)
    quantizer = MultiCodebookVQ(6, 16, num_codebooks=num_codebooks, commitment_weight=0.5).train()
    with torch.no_grad():
        quantizer.codebook.mul_(3)
    features = torch.randn(2, 6, 5, requires_grad=True)
    weight = torch.randn(2, 6, 5)
    codes, ids, loss = quantizer.quantize_map(features)
    ((codes * weight).sum() + loss).backward()

    tables = quantizer.codebook.detach().requires_grad_()
    z = features.detach().requires_grad_()
    u = functional.normalize(z.mT.unflatten(-1, (num_codebooks, -1)), dim=-1)
    unit = functional.normalize(tables, dim=-1)
    expected_ids = torch.einsum("bnmc,mkc->bnmk", u, unit).argmax(dim=-1)
    assert torch.equal(ids.reshape(expected_ids.shape), expected_ids)
    q = torch.stack([unit[i][expected_ids[..., i]] for i in range(num_codebooks)], dim=2)
    expected = (q - u.detach()).square().mean() + 0.5 * (q.detach() - u).square().mean()
    ((u + (q - u).detach()).flatten(2).mT * weight).sum().add(expected).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(features.grad, z.grad)
    torch.testing.assert_close(quantizer.codebook.grad, tables.grad)


def loss_of(features: torch.Tensor, mask: torch.Tensor | None, **weights: float) -> torch.Tensor:
    torch.manual_seed(1)
    return MultiCodebookVQ(6, 8, num_codebooks=3, **weights).train().quantize_map(features, mask).loss


@pytest.mark.parametrize("mask", [None, torch.tensor([[True, False, True, True]])])
def test_disentanglement_is_the_mean_squared_cosine_of_a_positions_codes(mask: torch.Tensor | None) -> None:
    features = torch.randn(1, 6, 4)
    term = loss_of(features, mask, disentanglement_weight=2.0) - loss_of(features, mask)
    torch.manual_seed(1)
    codes = (
        MultiCodebookVQ(6, 8, num_codebooks=3).eval().quantize_map(features).codes[0].T.unflatten(1, (3, 2))
    )
    cosines = codes @ codes.mT
    pairs = torch.stack([cosines[:, 0, 1], cosines[:, 0, 2], cosines[:, 1, 2]], dim=1)
    counted = pairs if mask is None else pairs[mask[0]]
    torch.testing.assert_close(term, 2 * counted.square().mean())


def test_disentanglement_moves_features_and_codes() -> None:
    quantizer = MultiCodebookVQ(
        4, 8, num_codebooks=2, commitment_weight=0, disentanglement_weight=1e6
    ).train()
    features = torch.randn(1, 4, 3, requires_grad=True)
    quantizer.quantize_map(features).loss.backward()
    assert features.grad.abs().max() > 1
    assert quantizer.codebook.grad.abs().max() > 100


@pytest.mark.parametrize("mask", [None, torch.tensor([[True, False, True, True]])])
def test_entropy_is_averaged_over_codebooks(mask: torch.Tensor | None) -> None:
    features = torch.randn(1, 6, 4)
    weights = {"entropy_weight": 0.5, "entropy_temperature": 0.3}
    term = loss_of(features, mask, **weights) - loss_of(features, mask)
    torch.manual_seed(1)
    tables = functional.normalize(MultiCodebookVQ(6, 8, num_codebooks=3).codebook, dim=-1)
    chunks = functional.normalize(features[0].T.unflatten(1, (3, 2)), dim=-1)
    chunks = chunks if mask is None else chunks[mask[0]]
    each = [entropies_of_choice(chunks[:, i], tables[i], 0.3) for i in range(3)]
    torch.testing.assert_close(term, 0.5 * torch.stack([own - batch for own, batch in each]).mean())


def test_an_absent_chunk_is_zero_alone() -> None:
    quantizer = MultiCodebookVQ(4, 16, num_codebooks=2).eval()
    part = quantizer.lookup(torch.tensor([[[-1, 5]]]))
    whole = quantizer.lookup(torch.tensor([[[3, 5]]]))
    assert torch.equal(part[:, 2:], whole[:, 2:])
    assert (part[:, :2] == 0).all()


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(VistokError, match="dim 10 and 4 codebooks"):
        MultiCodebookVQ(10, 16, num_codebooks=4)
