"""Groups of residual stacks against the field's library, and feature maps, on which that library crashes."""

from typing import Any

import pytest
import torch
import vector_quantize_pytorch as original
from torch import Tensor

from vistok.quantizers import GroupedResidualFSQ, GroupedResidualLFQ, GroupedResidualVQ
from vistok_protocol.errors import VistokError

CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "vq": (GroupedResidualVQ, original.GroupedResidualVQ, {"codebook_size": 32}),
    "vq projected": (
        GroupedResidualVQ,
        original.GroupedResidualVQ,
        {"codebook_size": 32, "codebook_dim": 3, "quantize_dropout": True},
    ),
    "fsq": (GroupedResidualFSQ, original.GroupedResidualFSQ, {"levels": [5, 4, 3]}),
    "lfq": (GroupedResidualLFQ, original.GroupedResidualLFQ, {"codebook_size": 2**5}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def pair(case: tuple[type, type, dict[str, Any]], **more: Any) -> tuple[Any, Any]:
    """Ours and theirs with the same weights: two groups of four channels, three layers each."""
    ours_class, theirs_class, arguments = case
    torch.manual_seed(1)
    arguments = {"dim": 8, "groups": 2, "num_quantizers": 3, **arguments, **more}
    ours, theirs = ours_class(**arguments), theirs_class(**arguments)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def by_token(indices: Tensor) -> Tensor:
    """Indices `(g b *space q)` of a call as ids `(b *space (g q))`."""
    return torch.cat(indices.unbind(), dim=-1)


@every_case
def test_inference_is_the_originals(case: tuple[type, type, dict[str, Any]]) -> None:
    ours, theirs = (each.eval() for each in pair(case))
    x = torch.randn(2, 30, 8)
    answer = ours(x, return_all_codes=True)
    *expected, codes_of_groups = theirs(x, return_all_codes=True)
    expected.append(torch.stack(codes_of_groups))
    assert len(answer) == len(expected)
    for value, wanted in zip(answer, expected, strict=True):
        assert value.shape == wanted.shape
        assert value.dtype == wanted.dtype
    assert torch.equal(answer[1], expected[1])
    torch.testing.assert_close(answer[0], expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(answer[-1], expected[-1], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.get_output_from_indices(answer[1]), answer[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.get_codes_from_indices(answer[1]), answer[-1], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.codebooks, theirs.codebooks, rtol=0, atol=1e-6)
    assert torch.equal(ours.ids_of_map(x.transpose(1, 2)), by_token(answer[1]))


@every_case
@pytest.mark.parametrize("training", [False, True])
def test_feature_maps(case: tuple[type, type, dict[str, Any]], training: bool) -> None:
    ours, _ = pair(case, accept_image_fmap=True)
    ours.train(training)
    x = torch.randn(2, 8, 4, 5)
    quantized, indices, *_ = ours(x)
    assert quantized.shape == x.shape
    assert indices.shape == (2, 2, 4, 5, 3)
    if not training:
        torch.testing.assert_close(ours.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.lookup(by_token(indices)), quantized, rtol=0, atol=1e-6)


def test_residual_fsq_with_channels_first_is_the_originals() -> None:
    ours, theirs = pair(CASES["fsq"], accept_image_fmap=True, is_channel_first=True)
    x = torch.randn(2, 8, 4, 5)
    quantized, indices = ours.eval()(x)
    expected, expected_indices = theirs.eval()(x)
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(quantized, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.get_output_from_indices(indices), quantized, rtol=0, atol=1e-6)


@every_case
def test_groups_are_stacks_side_by_side(case: tuple[type, type, dict[str, Any]]) -> None:
    ours = pair(case)[0].eval()
    x = torch.randn(2, 9, 8)
    quantized, indices, *_ = ours(x)
    for group, stack in enumerate(ours.rvqs):
        own = stack(x[..., 4 * group : 4 * group + 4])
        assert torch.equal(own[1], indices[group])
        assert torch.equal(own[0], quantized[..., 4 * group : 4 * group + 4])


def test_groups_go_through_as_many_layers_in_training() -> None:
    ours = pair(CASES["vq projected"])[0].train()
    depths = set()
    for _ in range(20):
        indices = ours(torch.randn(2, 3, 8))[1]
        present = indices >= 0
        assert torch.equal(*present)
        depths.add(int(present[0, 0, 0].sum()))
    assert depths == {1, 2, 3}


def test_the_first_layers_of_every_group_decode() -> None:
    ours = pair(CASES["vq"])[0].eval()
    _, indices, _, codes = ours(torch.randn(2, 9, 8), return_all_codes=True)
    coarse = ours.get_output_from_indices(indices[..., :2])
    expected = torch.cat(codes[:, :2].sum(dim=1).unbind(), dim=-1)
    torch.testing.assert_close(coarse, expected, rtol=0, atol=1e-6)


def test_masked_tokens_are_absent() -> None:
    ours = pair(CASES["vq"])[0]
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    for mode in (True, False):
        quantized, indices, _ = ours.train(mode)(torch.randn(2, 5, 8), mask=mask)
        assert indices[:, ~mask].eq(-1).all()
        assert quantized[~mask].count_nonzero() == 0


def test_wanted_ids_give_the_sum_of_the_groups_cross_entropies() -> None:
    ours = pair(CASES["vq"])[0].eval()
    x, wanted = torch.randn(2, 5, 8), torch.randint(32, (2, 2, 5, 3))
    quantized, loss = ours(x, indices=wanted)
    each = [
        stack(part, indices=ids)[1]
        for stack, part, ids in zip(ours.rvqs, x.chunk(2, dim=-1), wanted, strict=True)
    ]
    torch.testing.assert_close(loss, sum(each))
    torch.testing.assert_close(quantized, ours.get_output_from_indices(wanted), rtol=0, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(VistokError, match="got 9 and 2"):
        GroupedResidualVQ(dim=9, groups=2, num_quantizers=1, codebook_size=4)
    ours = pair(CASES["vq"])[0]
    with pytest.raises(VistokError, match="d = 8"):
        ours(torch.randn(2, 5, 7))
    with pytest.raises(VistokError, match="g = 2 groups"):
        ours.get_output_from_indices(torch.zeros(3, 2, 5, 3, dtype=torch.int64))
