"""TorchScript archives as torch writes them: modules of any names around a stub of a program."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


class Box(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


def write_script(path: Path, weights: Mapping[str, Tensor]) -> None:
    root = Box()
    for name, weight in weights.items():
        *parents, last = name.split(".")
        module: nn.Module = root
        for parent in parents:
            if parent not in dict(module.named_children()):
                module.add_module(parent, Box())
            module = module.get_submodule(parent)
        module.register_buffer(last, weight)
    torch.jit.script(root).save(str(path))
