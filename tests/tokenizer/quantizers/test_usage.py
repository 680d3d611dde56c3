"""What ids say about the use of a vocabulary."""

import pytest
import torch

from vistok.quantizers import VectorQuantize
from vistok.quantizers.usage import CodebookUsage


def test_four_ids_of_ten() -> None:
    usage = CodebookUsage(10)
    usage.add(torch.tensor([[0, 1], [2, 3]]))
    assert (usage.used, usage.dead, usage.share) == (4, 6, 0.4)
    assert usage.perplexity == pytest.approx(4)


def test_batches_add_up() -> None:
    usage = CodebookUsage(10)
    usage.add(torch.tensor([0, 1, 2, 3]))
    usage.add(torch.zeros(10_000, dtype=torch.int64))
    usage.add(torch.tensor([7], dtype=torch.int32))
    assert usage.used == 5
    assert 1 < usage.perplexity < 1.1


def test_absent_ids_do_not_count() -> None:
    usage = CodebookUsage(4)
    usage.add(torch.tensor([-1, 3, -1]))
    assert (usage.used, usage.perplexity) == (1, 1)


def test_a_vocabulary_may_be_larger_than_memory() -> None:
    usage = CodebookUsage(2**60)
    usage.add(torch.tensor([2**59, 5, 2**59]))
    assert (usage.used, usage.dead) == (2, 2**60 - 2)


def test_a_batch_tells_how_its_quantizer_is_used() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantize(4, 64).eval()
    ids = quantizer(quantizer.codebook[:9][None]).indices
    assert CodebookUsage.of(quantizer, ids).used == 9
