"""GSQ against its formulas."""

import pytest
import torch
import torch.nn.functional as functional

from vistok.quantizers import GSQ
from vistok_protocol.errors import VistokError


def test_each_group_takes_the_code_at_the_smallest_angle() -> None:
    quantizer = GSQ(4, 3, groups=2).eval()
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [-1.0, 0.0]]))
    features = torch.tensor([[10.0, 1.0, 0.1, 0.2], [-3.0, 1.0, 0.2, 0.1]]).T[None]
    codes, ids, loss = quantizer.quantize_map(features)
    assert ids.tolist() == [[[0, 1], [2, 0]]]
    assert codes[0].T.tolist() == [[2.0, 0.0, 0.0, 0.5], [-1.0, 0.0, 2.0, 0.0]], "as they are in the table"
    assert loss == 0


def test_codes_start_on_the_sphere() -> None:
    norms = GSQ(12, 50, groups=3).codebook.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(50))


def test_loss_and_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    quantizer = GSQ(8, 16, groups=4, commitment_weight=0.5).train()
    features = torch.randn(2, 8, 5, requires_grad=True)
    weight = torch.randn(2, 8, 5)
    codes, ids, loss = quantizer.quantize_map(features)
    ((codes * weight).sum() + loss).backward()

    table = quantizer.codebook.weight.detach().requires_grad_()
    z = features.detach().requires_grad_()
    u = functional.normalize(z.mT.unflatten(-1, (4, 2)), dim=-1)
    assert torch.equal(ids, (u @ functional.normalize(table, dim=-1).T).argmax(dim=-1))
    q = table[ids]
    expected = (q - u.detach()).square().mean() + 0.5 * (q.detach() - u).square().mean()
    ((u + (q - u).detach()).flatten(2).mT * weight).sum().add(expected).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(features.grad, z.grad)
    torch.testing.assert_close(quantizer.codebook.weight.grad, table.grad)


def test_an_absent_group_is_zero_alone() -> None:
    quantizer = GSQ(4, 16, groups=2).eval()
    part = quantizer.lookup(torch.tensor([[[3, -1]]]))
    whole = quantizer.lookup(torch.tensor([[[3, 5]]]))
    assert torch.equal(part[:, :2], whole[:, :2])
    assert (part[:, 2:] == 0).all()


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(VistokError, match="dim 10 and 4 groups"):
        GSQ(10, 16, groups=4)
