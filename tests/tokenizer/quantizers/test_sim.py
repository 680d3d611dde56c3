"""SimVQ against the field's library, and how often it computes its codebook."""

import pytest
import torch
import vector_quantize_pytorch as original
from torch import Tensor, nn

from vistok.quantizers import SimVQ


def pair(**arguments: object) -> tuple[SimVQ, nn.Module]:
    torch.manual_seed(0)
    theirs = original.SimVQ(8, 64, **arguments)
    ours = SimVQ(8, 64, **arguments)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


class Counting(nn.Linear):
    """A codebook transform that remembers how many vectors it was given, each time."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)
        self.calls: list[int] = []

    def forward(self, vectors: Tensor) -> Tensor:
        self.calls.append(vectors.numel() // vectors.shape[-1])
        return super().forward(vectors)


@pytest.mark.parametrize(
    ("shape", "channel_first"),
    [
        ((3, 8), False),
        ((2, 50, 8), False),
        ((2, 5, 7, 8), False),
        ((2, 8, 50), True),
        ((2, 8, 5, 7), True),
        ((2, 8, 2, 5, 7), True),
    ],
)
def test_sim_vq_is_the_originals(shape: tuple[int, ...], channel_first: bool) -> None:
    ours, theirs = (each.eval() for each in pair(channel_first=channel_first))
    x = torch.randn(shape)
    quantized, indices, loss = ours(x)
    expected, expected_indices, _ = theirs(x)
    assert torch.equal(indices, expected_indices)
    torch.testing.assert_close(quantized, expected)
    assert torch.equal(ours.indices_to_codes(indices), quantized)
    assert loss == 0
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("rotation_trick", [True, False])
def test_training_has_the_originals_loss_and_gradients(rotation_trick: bool) -> None:
    results = []
    for quantizer in pair(
        rotation_trick=rotation_trick, frozen_codebook_dim=5, input_to_quantize_commit_loss_weight=0.5
    ):
        x = torch.randn(2, 32, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
        quantized, _, loss = quantizer(x)
        ((quantized * torch.linspace(0, 1, 8)).sum() + loss).backward()
        results.append((quantized, loss, x.grad, quantizer.code_transform.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_mask_leaves_positions_out_of_the_loss() -> None:
    ours, _ = pair()
    x = torch.randn(2, 8, 6)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    masked = ours.quantize_map(x, mask)
    x[1, :, 3:] = 1e6
    assert ours.quantize_map(x, mask).loss == masked.loss
    assert (masked.ids[1, 3:] == -1).all()
    assert ours.quantize_map(x, torch.zeros(2, 6, dtype=torch.bool)).loss == 0


def test_the_codebook_is_computed_once_while_its_weights_stay() -> None:
    transform = Counting(8)
    quantizer = SimVQ(8, 64, codebook_transform=transform).eval()
    x = torch.randn(2, 50, 8)
    for _ in range(3):
        quantizer.indices_to_codes(quantizer(x).indices)
    assert transform.calls == [64]


def test_changed_weights_are_noticed() -> None:
    quantizer = SimVQ(8, 64).eval()
    x = torch.randn(2, 50, 8)
    quantizer(x)
    with torch.no_grad():
        quantizer.code_transform.weight.mul_(2)
    fresh = SimVQ(8, 64).eval()
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(quantizer(x).indices, fresh(x).indices)
    assert torch.equal(quantizer.codebook, fresh.codebook)


def test_decoding_in_training_transforms_the_asked_for_codes_alone() -> None:
    transform = Counting(8)
    quantizer = SimVQ(8, 64, codebook_transform=transform).train()
    codes = quantizer.indices_to_codes(torch.randint(64, (2, 5)))
    assert transform.calls == [10]
    codes.sum().backward()
    assert transform.weight.grad is not None
