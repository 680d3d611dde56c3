"""VQ against the field's library, and how its codebook learns."""

import pytest
import torch
import vector_quantize_pytorch as original

from vistok.quantizers import VectorQuantize


@pytest.mark.parametrize("cosine", [False, True])
def test_vq_trains_like_the_original(cosine: bool) -> None:
    torch.manual_seed(0)
    arguments = {"decay": 0.9, "use_cosine_sim": cosine}
    theirs = original.VectorQuantize(8, 64, **arguments)
    ours = VectorQuantize(8, 64, **arguments)
    ours.load_state_dict(theirs.state_dict())
    for _ in range(4):
        # Well-separated clusters, so that rounding decides no index.
        x = torch.randn(2, 256, 8) * 0.3 + 3 * torch.eye(8)[torch.randint(8, (2, 256))]
        _, indices, loss = ours(x)
        _, expected_indices, expected_loss = theirs(x)
        assert (indices == expected_indices).float().mean() > 0.99
        torch.testing.assert_close(loss, expected_loss.squeeze(), rtol=1e-2, atol=1e-3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(ours.codebook, theirs.codebook, rtol=1e-2, atol=2e-2)


def test_rotation_gives_the_originals_gradient() -> None:
    torch.manual_seed(0)
    ours, theirs = VectorQuantize(8, 64), original.VectorQuantize(8, 64)
    ours.load_state_dict(theirs.state_dict())
    gradients = []
    for quantizer in (ours, theirs):
        x = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
        (quantizer(x)[0] * torch.linspace(0, 1, 8)).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_kmeans_starts_the_codebook_in_the_data() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantize(2, 4, kmeans_init=True, decay=1.0)
    corners = torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]])
    x = corners.repeat(50, 1)[None] + 0.1 * torch.randn(1, 200, 2)
    before = quantizer.codebook.clone()
    quantizer.eval()(x)
    assert torch.equal(quantizer.codebook, before), "inference must not start a codebook"
    quantizer.train()(x)
    distance = torch.cdist(quantizer.codebook, corners).min(dim=1).values
    assert distance.max() < 6, "codes lie among the data"
    assert quantizer._codebook.initted


def test_dead_codes_come_back_to_the_data() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantize(4, 64, threshold_ema_dead_code=1, decay=0.5).train()
    for _ in range(12):
        quantizer(10 + torch.randn(1, 512, 4))
    used = quantizer(10 + torch.randn(1, 2048, 4)).indices.unique()
    assert len(used) > 48


def test_the_last_tile_counts_no_token_twice() -> None:
    """More tokens than one tile of the nearest search holds, and not a multiple of it."""
    torch.manual_seed(0)
    quantizer = VectorQuantize(4, 2**17).eval()
    tokens = torch.randn(1, 37, 4)
    exact = torch.cdist(tokens[0].double(), quantizer.codebook.double()).argmin(dim=1)
    assert (quantizer(tokens).indices[0] == exact).float().mean() > 0.9
