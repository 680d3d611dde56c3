"""The families that are deployed most run in another runtime, without torch."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tests.tokenizer.quantizers.families import FAMILIES, made
from vistok.quantizers import Quantizer


class Encoder(nn.Module):
    """From a feature map to ids alone."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, features: Tensor) -> Tensor:
        return self.quantizer.ids_of_map(features)


@pytest.mark.slow
# What the exporter says about itself.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["fsq", "lfq", "bsq", "vq", "sim vq"])
def test_it_runs_as_onnx(name: str, tmp_path: Path) -> None:
    """Ids from another runtime, without torch."""
    encoder = Encoder(made(FAMILIES[name])).eval()
    features = torch.randn(2, encoder.quantizer.dim, 4, 5)
    program = torch.onnx.export(
        encoder, (features,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
    )
    assert program is not None
    program.save(tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    more = torch.randn(5, encoder.quantizer.dim, 4, 5)
    (ids,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    assert torch.equal(torch.from_numpy(ids), encoder(more))
