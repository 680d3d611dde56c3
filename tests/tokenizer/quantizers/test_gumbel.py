"""The Gumbel quantizer against its definition."""

import pytest
import torch

from vistok.quantizers import GumbelQuantizer


def test_without_training_the_largest_logit_wins_each_time() -> None:
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(6, 50).eval()
    features = torch.randn(2, 6, 5, 7)
    logits = torch.einsum("bdhw,kd->bhwk", features, quantizer.logits.weight) + quantizer.logits.bias
    codes, ids, loss = quantizer.quantize_map(features)
    assert torch.equal(ids, logits.argmax(dim=-1))
    assert torch.equal(codes, quantizer.embedding.weight[ids].movedim(-1, 1))
    assert loss == 0
    assert torch.equal(quantizer.ids_of_map(features), ids)


def test_noise_chooses_as_often_as_the_softmax_says() -> None:
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(2, 3).train()
    feature = torch.tensor([0.5, -1.0])
    expected = (quantizer.logits.weight @ feature + quantizer.logits.bias).softmax(dim=0)
    ids = quantizer.quantize_map(feature[None, :, None].expand(1, 2, 20_000)).ids
    torch.testing.assert_close(ids.flatten().bincount(minlength=3) / 20_000, expected, atol=0.02, rtol=0)


def test_gradients_are_those_of_the_softmax_at_the_temperature() -> None:
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(4, 8, divergence_weight=0, temperature=0.7).train()
    features = torch.randn(1, 4, 3, requires_grad=True)
    torch.manual_seed(1)
    codes = quantizer.quantize_map(features).codes
    codes.sum().backward()
    torch.manual_seed(1)
    again = features.detach().requires_grad_()
    noise = -torch.empty(1, 3, 8).exponential_().log()
    soft = ((quantizer.logits(again.mT) + noise) / 0.7).softmax(dim=-1)
    (soft @ quantizer.embedding.weight.detach()).sum().backward()
    torch.testing.assert_close(features.grad, again.grad)


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_is_the_divergence_from_uniform(masked: bool) -> None:
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(4, 8, divergence_weight=0.5).train()
    features = torch.randn(1, 4, 6)
    mask = torch.tensor([[True, False, True, True, False, True]]) if masked else None
    probabilities = quantizer.logits(features.mT).softmax(dim=-1)
    divergence = (probabilities * (probabilities * 8).log()).sum(dim=-1)
    expected = divergence[mask].mean() if masked else divergence.mean()
    torch.testing.assert_close(quantizer.quantize_map(features, mask).loss, 0.5 * expected)
