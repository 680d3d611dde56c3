"""Which tokenizer made these ids: a digest of everything that gives an id its meaning."""

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor

from vistok.config import TokenizerConfig

_DIGITS = 32


def fingerprint(config: TokenizerConfig, weights: Mapping[str, Tensor]) -> str:
    """Digest the architecture, the quantizer and all weights; name, licence and quality are left out."""
    digest = hashlib.sha256()
    meaning = config.model_dump(mode="json", include={"format", "kind", "autoencoder", "quantizer"})
    digest.update(json.dumps(meaning, sort_keys=True).encode())
    for name in sorted(weights):
        weight = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]
