"""The Leech lattice: facts of its shortest vectors, their order, and a search that misses none."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vistok.quantizers import LeechQuantizer
from vistok.quantizers.lattice.leech_vectors import leech


def test_words_have_the_weights_of_the_golay_code() -> None:
    weights, counts = np.unique(leech().words.sum(axis=1), return_counts=True)
    assert dict(zip(weights.tolist(), counts.tolist(), strict=True)) == {
        0: 1,
        8: 759,
        12: 2576,
        16: 759,
        24: 1,
    }


def test_there_are_196560_different_vectors_of_one_length() -> None:
    vectors = leech().vectors
    assert vectors.shape == (196560, 24)
    assert (vectors.astype(np.int64) ** 2).sum(axis=1).tolist() == [32] * 196560
    assert len({row.tobytes() for row in vectors}) == 196560


def test_inner_products_are_those_of_the_lattice() -> None:
    vectors = leech().vectors.astype(np.float32)
    some = np.linspace(0, 196559, 60).astype(int)
    products, counts = np.unique(vectors[some] @ vectors.T, return_counts=True)
    assert products.tolist() == [-32, -16, -8, 0, 8, 16, 32]
    # Around every vector, as around every other.
    assert (counts // 60).tolist() == [1, 4600, 47104, 93150, 47104, 4600, 1]


@pytest.mark.parametrize(
    ("row", "places", "values"),
    [
        (97152, [0, 1, 23], [-3, 1, 1]),
        (97152 + 24 * 4095 + 23, [0, 22, 23], [-1, -1, 3]),
        (195456, [0, 1, 2], [4, 4, 0]),
        (195457, [0, 1, 2], [4, -4, 0]),
        (196559, [21, 22, 23], [0, -4, -4]),
    ],
)
def test_rows_are_in_the_order_that_is_written_down(row: int, places: list[int], values: list[int]) -> None:
    assert leech().vectors[row, places].tolist() == values


def test_the_signs_on_an_octad_count_up() -> None:
    first_octad = leech().vectors[:4][:, leech().octads[0]]
    assert first_octad.tolist() == [
        [2, 2, 2, 2, 2, 2, 2, 2],
        [2, 2, 2, 2, 2, 2, -2, -2],
        [2, 2, 2, 2, 2, -2, 2, -2],
        [2, 2, 2, 2, 2, -2, -2, 2],
    ]


@pytest.mark.parametrize("power", [0, 1, 2, 4])
def test_no_vector_has_a_larger_inner_product_than_the_one_found(power: int) -> None:
    # Higher powers leave few large channels, which is what the vectors with two fours answer to.
    tokens = torch.randn(150, 24, generator=torch.Generator().manual_seed(power)).sign() * torch.rand(
        150, 24, generator=torch.Generator().manual_seed(power)
    ).pow(power)
    vectors = torch.from_numpy(leech().vectors).double()
    ids = LeechQuantizer().eval().ids_of_map(tokens)
    found = (vectors[ids] * tokens).sum(dim=1)
    torch.testing.assert_close(found, _largest(tokens, vectors), rtol=1e-6, atol=1e-6)


def test_every_shape_of_vector_is_its_own_nearest() -> None:
    quantizer = LeechQuantizer().eval()
    ids = torch.cat([torch.arange(0, 196560, 131), torch.arange(195456, 196560, 3)])
    assert torch.equal(quantizer.ids_of_map(quantizer.lookup(ids)), ids)


def test_codes_have_unit_length_and_only_the_direction_counts() -> None:
    quantizer = LeechQuantizer().train()
    features = torch.randn(2, 24, 20)
    result = quantizer.quantize_map(features)
    torch.testing.assert_close(result.codes.norm(dim=1), torch.ones(2, 20))
    assert torch.equal(result.ids, quantizer.quantize_map(8 * features).ids)


def test_training_has_no_loss_and_the_gradient_of_the_direction() -> None:
    features = torch.randn(1, 24, requires_grad=True)
    result = LeechQuantizer().train().quantize_map(features)
    assert result.loss == 0
    weights = torch.randn(1, 24)
    (result.codes * weights).sum().backward()
    expected = torch.func.grad(lambda x: ((x / x.norm()) * weights).sum())(features.detach())
    torch.testing.assert_close(features.grad, expected)


def test_tables_are_built_once_and_are_in_no_state_dict() -> None:
    assert leech() is leech()
    assert not LeechQuantizer().state_dict()
    assert set(LeechQuantizer(8).state_dict()) == {
        "project_in.weight",
        "project_in.bias",
        "project_out.weight",
        "project_out.bias",
    }


def _largest(tokens: Tensor, vectors: Tensor) -> Tensor:
    scores = [(few.double() @ vectors.T).amax(dim=1) for few in tokens.split(50)]
    return torch.cat(scores)
