"""NSVQ: noise of the error's length in training, codes in evaluation, and the fate of unused codes."""

import torch

from vistok.quantizers import NSVQ


def corners() -> torch.Tensor:
    return torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]])


def test_training_is_as_far_from_the_features_as_the_codes_are() -> None:
    torch.manual_seed(0)
    quantizer = NSVQ(8, 32).train()
    features = torch.randn(2, 8, 50)
    codes, ids, loss = quantizer.quantize_map(features)
    error = (features - quantizer.lookup(ids)).norm(dim=1)
    torch.testing.assert_close((codes - features).norm(dim=1), error)
    assert loss == 0
    assert not torch.equal(codes, quantizer.quantize_map(features).codes), "drawn anew"


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    quantizer = NSVQ(8, 32).train()
    features = torch.randn(2, 8, 50, requires_grad=True)
    weight = torch.randn(2, 8, 50)
    codes, ids, _ = quantizer.quantize_map(features)
    (codes * weight).sum().backward()

    z = features.detach().requires_grad_()
    table = quantizer.codebook.detach().requires_grad_()
    error = z.mT - table[ids]
    length = error.norm(dim=-1, keepdim=True)
    noise = ((codes.detach() - z.detach()).mT / length.detach()).detach()
    ((z.mT + length * noise) * weight.mT).sum().backward()
    torch.testing.assert_close(features.grad, z.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(quantizer.codebook.grad, table.grad, rtol=1e-4, atol=1e-5)


def test_evaluation_gives_codes_and_counts_nothing() -> None:
    quantizer = NSVQ(2, 4).eval()
    with torch.no_grad():
        quantizer.codebook.copy_(corners())
    codes, ids, _ = quantizer.quantize_map(torch.tensor([[[4.0, -9.0], [1.0, -1.0]]]))
    assert ids.tolist() == [[0, 3]]
    assert codes[0].T.tolist() == [[5.0, 5.0], [-5.0, -5.0]]
    assert quantizer.batches == 0


def test_unused_codes_become_copies_of_used_ones_a_little_apart() -> None:
    torch.manual_seed(0)
    quantizer = NSVQ(2, 40, replacement_period=3).train()
    with torch.no_grad():
        quantizer.codebook[:4] = corners()
        quantizer.codebook[4:] = 1000
    features = corners().T[None]
    for _ in range(2):
        quantizer.quantize_map(features)
    assert (quantizer.codebook[4:] == 1000).all(), "the period is not over"
    quantizer.quantize_map(features)
    assert torch.equal(quantizer.codebook[:4], corners())
    distances = torch.cdist(quantizer.codebook[4:], corners()).min(dim=1).values
    assert ((distances > 0) & (distances < 0.5)).all()
    assert quantizer.uses.sum() == 0


def test_masked_tokens_do_not_keep_a_code_in_use() -> None:
    quantizer = NSVQ(2, 4, replacement_period=0).train()
    with torch.no_grad():
        quantizer.codebook.copy_(corners())
    mask = torch.tensor([[True, True, True, False]])
    quantizer.quantize_map(corners().T[None], mask)
    assert quantizer.uses.tolist() == [1, 1, 1, 0]
    assert quantizer.replace_unused_codes() == 1


def test_without_any_use_nothing_is_replaced() -> None:
    quantizer = NSVQ(2, 4)
    before = quantizer.codebook.clone()
    assert quantizer.replace_unused_codes() == 0
    assert torch.equal(quantizer.codebook, before)
