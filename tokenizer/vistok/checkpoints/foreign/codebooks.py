"""Tables of codes, as the quantizers of ours that search them have them."""

from typing import Literal

import torch.nn.functional as functional
from torch import Tensor, ones_like, tensor

from vistok.checkpoints.foreign.renaming import Weights
from vistok.config import QuantizerConfig

Metric = Literal["distance", "cosine", "product"]
"""What makes a code the right one: the smallest distance, the largest cosine, the largest inner product."""


def codebook(table: Tensor, metric: Metric) -> tuple[QuantizerConfig, Weights]:
    """Give the quantizer of a table `(k d)`, and its weights."""
    size, dim = table.shape
    if metric == "product":
        config = QuantizerConfig(type="IBQ", arguments={"dim": dim, "codebook_size": size})
        return config, {"quantizer.embedding.weight": table}
    arguments = {"dim": dim, "codebook_size": size, "use_cosine_sim": metric == "cosine"}
    table = (functional.normalize(table.float(), dim=-1) if metric == "cosine" else table)[None]
    weights = {
        "initted": tensor(True),
        "cluster_size": ones_like(table[..., 0]),
        "embed_avg": table.clone(),
        "embed": table,
    }
    return QuantizerConfig(type="VectorQuantize", arguments=arguments), {
        f"quantizer._codebook.{name}": weight for name, weight in weights.items()
    }


def signs(bits: int, lowest_bit_first: bool) -> tuple[QuantizerConfig, Weights]:
    """Give the quantizer whose ids are the signs of so many channels, and its weights."""
    arguments = {"dim": bits, "entropy_loss_weight": 0.0, "lowest_bit_first": lowest_bit_first}
    places = range(bits) if lowest_bit_first else range(bits - 1, -1, -1)
    return QuantizerConfig(type="LFQ", arguments=arguments), {
        "quantizer.mask": tensor([2**place for place in places])
    }
