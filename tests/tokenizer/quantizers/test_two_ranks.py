"""Codebooks of several processes stay one codebook."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenizer.quantizers.ranks import on_two_ranks
from vistok.quantizers import VectorQuantize


def batch_of(rank: int, step: int, tokens: int = 64) -> Tensor:
    """Each rank's own data, in its own corner."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(1, tokens, 4, generator=generator) + 5 * rank


QUANTIZERS: dict[str, dict[str, Any]] = {
    "averages": {},
    "kmeans and replacement": {"kmeans_init": True, "threshold_ema_dead_code": 2},
    "a table per head": {
        "heads": 2,
        "codebook_dim": 2,
        "separate_codebook_per_head": True,
        "kmeans_init": True,
        "threshold_ema_dead_code": 2,
    },
    "affine": {"affine_param": True, "sync_affine_param": True},
    "a rank that sees nothing": {"threshold_ema_dead_code": 2},
    "never shared": {"sync_codebook": False},
}


def states(rank: int, join: Callable[[], None]) -> dict[str, dict[str, Tensor]]:
    """Train one of each; they are built before the process group exists, which changes nothing."""
    quantizers = {}
    for name, arguments in QUANTIZERS.items():
        torch.manual_seed(0)
        quantizers[name] = VectorQuantize(4, 16, decay=0.5, **arguments).train()
    join()
    torch.manual_seed(rank)  # from here on ranks draw differently
    for name, quantizer in quantizers.items():
        for step in range(4):
            x = batch_of(rank, step, tokens=64 - 30 * rank)
            blind = name == "a rank that sees nothing" and rank == 1
            quantizer(x, mask=torch.zeros(x.shape[:2], dtype=torch.bool) if blind else None)
    return {name: dict(quantizer.state_dict()) for name, quantizer in quantizers.items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    return on_two_ranks(states, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name != "never shared"])
def test_ranks_keep_one_codebook(name: str, both: list[dict[str, dict[str, Tensor]]]) -> None:
    first, second = (states[name] for states in both)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_averages_are_those_of_all_data(both: list[dict[str, dict[str, Tensor]]]) -> None:
    """Two ranks move the codebook as one process that sees both ranks' tokens, to float64's rounding."""
    codebook = both[0]["averages"]["_codebook.embed"][0]
    torch.manual_seed(0)
    codes = VectorQuantize(4, 16).codebook.double()
    counts = torch.ones(16, dtype=torch.float64)
    sums = codes.clone()
    for step in range(4):
        tokens = torch.cat([batch_of(rank, step, tokens=64 - 30 * rank)[0] for rank in range(2)]).double()
        ids = torch.cdist(tokens, codes).argmin(dim=1)
        chosen = torch.nn.functional.one_hot(ids, 16).double()
        counts = 0.5 * counts + 0.5 * chosen.sum(dim=0)
        sums = 0.5 * sums + 0.5 * chosen.T @ tokens
        smoothed = (counts + 1e-5) / (counts.sum() + 16e-5) * counts.sum()
        codes = sums / smoothed[:, None]
    torch.testing.assert_close(codebook.double(), codes, rtol=1e-4, atol=1e-4)


def test_replaced_codes_come_from_all_ranks(both: list[dict[str, dict[str, Tensor]]]) -> None:
    codebook = both[0]["kmeans and replacement"]["_codebook.embed"][0]
    nearer_to_the_second = (codebook - 5).norm(dim=1) < codebook.norm(dim=1)
    assert 0 < int(nearer_to_the_second.sum()) < 16


def test_codebooks_may_stay_apart(both: list[dict[str, dict[str, Tensor]]]) -> None:
    first, second = (states["never shared"]["_codebook.embed"] for states in both)
    assert not torch.equal(first, second)
