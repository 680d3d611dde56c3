"""LFQ against the field's library, and its entropies against their definition."""

import pytest
import torch
import vector_quantize_pytorch as original
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vistok.quantizers import LFQ
from vistok_protocol.errors import VistokError


@pytest.mark.parametrize("shape", [(2, 50, 12), (2, 12, 5, 7)])
def test_lfq_is_the_originals(shape: tuple[int, ...]) -> None:
    ours, theirs = LFQ(dim=12).eval(), original.LFQ(dim=12).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape)
    quantized, indices, _ = ours(x)
    expected = theirs(x)
    assert torch.equal(indices, expected[1])
    assert torch.equal(quantized, expected[0])
    assert torch.equal(ours.indices_to_codes(indices), quantized)


def brute_force_entropies(latents: Tensor, inverse_temperature: float) -> tuple[Tensor, Tensor]:
    """The definition: a softmax over every code, with a row of 2^d for each token."""
    bits = latents.shape[1]
    codes = ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1) * 2.0 - 1
    probability = (2 * inverse_temperature * latents @ codes.T).softmax(dim=1)
    own = torch.special.entr(probability).sum(dim=1).mean()
    return own, torch.special.entr(probability.mean(dim=0)).sum()


@given(bits=st.integers(1, 9), inverse_temperature=st.sampled_from([0.1, 0.5, 2.0]), gamma=st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_lfq_entropy_is_exact(bits: int, inverse_temperature: float, gamma: float) -> None:
    torch.manual_seed(bits)
    quantizer = LFQ(
        dim=bits, entropy_loss_weight=1.0, diversity_gamma=gamma, inv_temperature=inverse_temperature
    )
    latents = torch.randn(40, bits)
    own, batch = brute_force_entropies(latents, inverse_temperature)
    loss = quantizer.train()(latents[None]).entropy_aux_loss
    torch.testing.assert_close(loss, own - gamma * batch, rtol=1e-4, atol=1e-5)


def test_lfq_with_more_bits_than_fit_in_memory_asks_to_leave_the_entropy_out() -> None:
    with pytest.raises(VistokError, match="entropy_loss_weight=0"):
        LFQ(dim=36)
