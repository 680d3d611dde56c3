"""LFQ's batch is that of all processes: its entropy, and the gradient of it."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tests.tokenizer.quantizers.ranks import RANKS, on_two_ranks
from vistok.quantizers.scalar.lookup_free import LFQ


def uneven_batch() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, count, 5, generator=generator) for count in (20, 7)]


def entropy_on_a_rank(rank: int, join: Callable[[], None]) -> tuple[Tensor, Tensor]:
    quantizer = LFQ(dim=5, inv_temperature=0.4)
    x = uneven_batch()[rank].requires_grad_()
    join()
    _, terms = quantizer(x, return_loss_breakdown=True)
    terms.batch_entropy.backward()
    assert x.grad is not None
    return terms.batch_entropy.detach(), x.grad


def test_the_batchs_entropy_is_that_of_all_ranks(tmp_path: Path) -> None:
    answers = on_two_ranks(entropy_on_a_rank, tmp_path)
    whole = torch.cat(uneven_batch(), dim=1).requires_grad_()
    _, terms = LFQ(dim=5, inv_temperature=0.4)(whole, return_loss_breakdown=True)
    terms.batch_entropy.backward()
    assert whole.grad is not None
    for (entropy, gradient), expected in zip(answers, whole.grad.split([20, 7], dim=1), strict=True):
        torch.testing.assert_close(entropy, terms.batch_entropy.detach())
        # Data parallelism averages gradients over ranks; each gives that of the sum of all ranks' losses.
        torch.testing.assert_close(gradient / RANKS, expected)
