"""The CUDA kernel of the nearest-code search: what it answers, what it compiles to, and when it is used."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.tokenizer.quantizers.interpreted import Searches, interpreted
from vistok.quantizers import search
from vistok.quantizers.search import nearest
from vistok.quantizers.search.nearest import largest_score, offsets_of_distance

KERNEL_MODULE = "vistok.quantizers.search.triton_nearest"

# (n, k, d): k below, at and beside multiples of the block; few tokens, whose codebook is split, and many.
SHAPES = [(1, 1, 8), (1, 1000, 64), (3, 128, 8), (64, 130, 200), (70, 300, 18), (300, 257, 64), (0, 5, 8)]


def whole(*shape: int) -> Tensor:
    """Small whole numbers: their products and sums are exact in any order, and many are equal."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(sum(shape))).float()


def made_searches() -> Searches:
    searches = {}
    for n, k, d in SHAPES:
        tokens, codes = whole(n, d), whole(k, d)
        searches[f"distance {n} {k} {d}"] = (tokens, codes, offsets_of_distance(codes))
        searches[f"product {n} {k} {d}"] = (tokens, codes, torch.zeros(k))
    real = torch.randn(40, 200, generator=torch.Generator().manual_seed(0))
    searches["real"] = (real + 1e-3, real, offsets_of_distance(real))
    codes = whole(100, 8)
    for n in (2, 300):
        searches[f"each code four times, {n}"] = (whole(n, 8), codes.repeat(4, 1), torch.zeros(400))
    few = torch.arange(200.0) >= 190
    searches["some never"] = (whole(5, 8), whole(200, 8), torch.zeros(200).masked_fill(~few, -torch.inf))
    searches["not a number"] = (torch.full((2, 8), torch.nan), codes, torch.zeros(100))
    rows = whole(30, 16)
    searches["strided"] = (rows[::2, ::2], whole(8, 150).T, torch.zeros(300)[::2])
    return searches


SEARCHES = made_searches()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("triton")
    return interpreted(SEARCHES, tmp_path_factory.mktemp("interpreted"))


@pytest.mark.parametrize("name", SEARCHES)
def test_it_answers_as_the_search_in_tiles(answers: dict[str, Any], name: str) -> None:
    assert answers[name].dtype == torch.int64
    assert torch.equal(answers[name], largest_score(*SEARCHES[name]))


def test_the_first_of_equal_codes_wins(answers: dict[str, Any]) -> None:
    assert max(answers[f"each code four times, {n}"].max() for n in (2, 300)) < 100


def test_a_code_is_nearest_to_itself(answers: dict[str, Any]) -> None:
    assert torch.equal(answers["real"], torch.arange(40))


def test_a_search_on_the_cpu_does_not_import_triton(answers: dict[str, Any]) -> None:
    assert answers["loaded"] is False


@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_to_float32_arithmetic(
    capability: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vistok.quantizers.search import triton_nearest

    kernel = triton_nearest.largest_score_kernel
    floats = dict.fromkeys(("tokens_at", "codes_at", "offsets_at", "scores_at"), "*fp32")
    counts = dict.fromkeys(("count", "codebook", "part"), "i32")
    constants = {"DIM": 200, **triton_nearest.BLOCKS}
    signature = {**floats, "ids_at": "*i64", **counts, **dict.fromkeys(constants, "constexpr")}
    aligned = {(place,): [["tt.divisibility", 16]] for place in range(5)}
    target = GPUTarget("cuda", capability, 32)
    binary = compiled(ASTSource(kernel, signature, constants, aligned), target, triton_nearest.LAUNCH)
    assert "fma.rn.f32" in binary.asm["ptx"]
    assert "mma." not in binary.asm["ptx"], "tensor cores round to TF32"
    assert binary.metadata.shared <= 48 * 1024, "what every device has"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Takes the kernel's place, which needs a device."""
    module = SimpleNamespace(largest_score=lambda *tensors: "the kernel", can_launch=lambda: True)
    monkeypatch.setitem(sys.modules, KERNEL_MODULE, module)
    monkeypatch.setattr(search, "triton_nearest", module, raising=False)
    nearest.cuda_kernel.cache_clear()
    yield module
    nearest.cuda_kernel.cache_clear()


@pytest.mark.parametrize(("device", "is_kernel"), [("cuda", True), ("cpu", False)])
def test_tokens_on_cuda_go_to_the_kernel(stand_in: SimpleNamespace, device: str, is_kernel: bool) -> None:
    with FakeTensorMode():
        tokens, codes, offsets = (torch.empty(shape, device=device) for shape in ((3, 8), (20, 8), (20,)))
        assert (largest_score(tokens, codes, offsets) == "the kernel") is is_kernel


def test_without_a_launcher_the_kernel_is_not_used(stand_in: SimpleNamespace) -> None:
    stand_in.can_launch = lambda: False
    assert nearest.cuda_kernel() is None


def test_without_triton_the_kernel_is_not_used(
    stand_in: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, KERNEL_MODULE, None)
    monkeypatch.delattr(search, "triton_nearest")
    assert nearest.cuda_kernel() is None


def test_without_a_device_nothing_can_be_launched() -> None:
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    from vistok.quantizers.search import triton_nearest

    assert not triton_nearest.can_launch()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_it_answers_as_the_search_in_tiles() -> None:
    pytest.importorskip("triton")
    for name, tensors in SEARCHES.items():
        ids = largest_score(*(each.cuda() for each in tensors)).cpu()
        assert torch.equal(ids, largest_score(*tensors)), name
