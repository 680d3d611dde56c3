"""IBQ against its definition, with a probability for every token and code."""

import pytest
import torch
from torch import Tensor

from vistok.quantizers import IBQ
from vistok.quantizers.vector import index_backpropagation, losses


def by_definition(tokens: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Give the straight-through codes and the hard ones."""
    soft = (tokens @ table.T).softmax(dim=-1)
    hard = torch.nn.functional.one_hot(soft.argmax(dim=-1), len(table)).float()
    return (hard - soft.detach() + soft) @ table, hard @ table


def definition_of_loss(tokens: Tensor, table: Tensor, beta: float) -> Tensor:
    soft, hard = by_definition(tokens, table)
    return (
        (soft - tokens).square().mean()
        + (hard.detach() - tokens).square().mean()
        + beta * (hard - tokens.detach()).square().mean()
    )


@pytest.mark.parametrize("probabilities_per_tile", [2**24, 16])
def test_gradients_are_those_of_the_softmax(
    monkeypatch: pytest.MonkeyPatch, probabilities_per_tile: int
) -> None:
    monkeypatch.setattr(index_backpropagation, "_PROBABILITIES_PER_TILE", probabilities_per_tile)
    torch.manual_seed(0)
    quantizer = IBQ(6, 16, commitment_weight=0.3).train()
    torch.nn.init.normal_(quantizer.embedding.weight)
    features = torch.randn(2, 6, 9, requires_grad=True)
    weight = torch.randn(2, 6, 9)
    codes, ids, loss = quantizer.quantize_map(features)
    ((codes * weight).sum() + loss).backward()

    table = quantizer.embedding.weight.detach().requires_grad_()
    z = features.detach().requires_grad_()
    tokens = z.mT
    expected_codes, _ = by_definition(tokens, table)
    expected = definition_of_loss(tokens, table, 0.3)
    ((expected_codes.mT * weight).sum() + expected).backward()
    assert torch.equal(codes.mT, table[ids]), "the value is the code itself"
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(features.grad, z.grad)
    torch.testing.assert_close(quantizer.embedding.weight.grad, table.grad)


def test_the_choice_is_by_inner_product_not_by_distance() -> None:
    quantizer = IBQ(2, 2).eval()
    with torch.no_grad():
        quantizer.embedding.weight.copy_(torch.tensor([[1.0, 0.0], [5.0, 5.0]]))
    assert quantizer.ids_of_map(torch.tensor([[[1.0], [0.1]]])).item() == 1


@pytest.mark.parametrize("probabilities_per_tile", [2**24, 40])
def test_entropies_are_exact_and_so_are_their_gradients(
    monkeypatch: pytest.MonkeyPatch, probabilities_per_tile: int
) -> None:
    monkeypatch.setattr(losses, "_PROBABILITIES_PER_TILE", probabilities_per_tile)
    torch.manual_seed(0)
    tokens, table = torch.randn(23, 4, requires_grad=True), torch.randn(10, 4, requires_grad=True)
    own, of_batch = losses.entropies_of_choice(tokens, table, 0.5)
    (own - 2 * of_batch).backward()
    gradients = tokens.grad, table.grad

    tokens.grad = table.grad = None
    probability = (tokens @ table.T / 0.5).softmax(dim=1)
    expected = torch.special.entr(probability).sum(dim=1).mean()
    expected_of_batch = torch.special.entr(probability.mean(dim=0)).sum()
    (expected - 2 * expected_of_batch).backward()
    torch.testing.assert_close((own, of_batch), (expected, expected_of_batch))
    torch.testing.assert_close(gradients, (tokens.grad, table.grad))


def test_entropy_term_counts_unmasked_tokens() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 4, 6)
    mask = torch.tensor([[True, True, True, True, False, False]])
    with_entropy = IBQ(4, 10, entropy_weight=0.7, entropy_temperature=0.2).train()
    without = IBQ(4, 10).train()
    without.load_state_dict(with_entropy.state_dict())
    term = with_entropy.quantize_map(features, mask).loss - without.quantize_map(features, mask).loss
    own, of_batch = losses.entropies_of_choice(features[0].T[:4], without.embedding.weight, 0.2)
    torch.testing.assert_close(term, 0.7 * (own - of_batch))
