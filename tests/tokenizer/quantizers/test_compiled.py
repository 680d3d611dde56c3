"""Every family can be captured whole by a compiler and exported, and says the same as before."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tokenizer.quantizers.families import FAMILIES, made
from vistok.quantizers import MultiScaleBSQ, MultiScaleVQ, Quantizer

SCALES = (1, 2, (4, 5))
EVERY = {
    **FAMILIES,
    "multi-scale vq": lambda: MultiScaleVQ(8, 50, SCALES),
    "multi-scale bsq": lambda: MultiScaleBSQ(8, SCALES),
}
every_family = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


class RoundTrip(nn.Module):
    """From a feature map to ids, and from these to codes."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids = self.quantizer.ids_of_map(features)
        return ids, self.quantizer.lookup(ids), self.quantizer.quantize_map(features).codes


def check(captured: Callable[[Tensor], tuple[Tensor, ...]], module: RoundTrip, features: Tensor) -> None:
    ids, *codes = captured(features)
    expected_ids, *expected_codes = module(features)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(codes, expected_codes)


@every_family
def test_it_compiles_whole(make: Callable[[], Quantizer]) -> None:
    torch.compiler.reset()
    module = RoundTrip(made(make).eval())
    captured = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for batch in (2, 3):
            check(captured, module, torch.randn(batch, module.quantizer.dim, 4, 5))


@every_family
def test_it_exports_for_any_batch(make: Callable[[], Quantizer]) -> None:
    module = RoundTrip(made(make).eval())
    features = torch.randn(2, module.quantizer.dim, 4, 5)
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=2, max=1024)
        program = torch.export.export(module, (features,), dynamic_shapes=({0: batch},)).module()
        check(program, module, torch.randn(5, module.quantizer.dim, 4, 5))


@every_family
def test_inference_changes_no_buffer(make: Callable[[], Quantizer]) -> None:
    quantizer = made(make).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    features = torch.randn(2, quantizer.dim, 4, 5)
    quantizer.lookup(quantizer.quantize_map(features).ids)
    quantizer(features.flatten(2).mT if quantizer.channel_first is not True else features)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name
