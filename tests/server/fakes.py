"""A tokenizer without weights, which a test can stop, watch and break."""

import threading

import torch
from torch import Tensor

from vistok_protocol.schemas import TokenizerInfo

FACTOR = 4
LEVELS = 16
POISON = 13  # an id that the fake's decoder chokes on, alone or in a batch


class BrightnessTokenizer:
    """One id per 4 x 4 block: its mean brightness, in sixteen levels."""

    kind = "image"
    factor = FACTOR
    fingerprint = "0123456789abcdef" * 2
    vocabulary_size = LEVELS
    codebooks = 1
    latent_dim = 3

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.batches: list[tuple[str, tuple[int, ...]]] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)

    def describe(self) -> TokenizerInfo:
        return TokenizerInfo(
            name=self.name,
            kind="image",
            quantizer="FSQ",
            vocabulary_size=LEVELS,
            codebooks=1,
            latent_dim=self.latent_dim,
            spatial_factor=FACTOR,
            fingerprint=self.fingerprint,
            licence="Apache-2.0",
            parameters=0,
            quality={"psnr": 12.5},
        )

    def encode(self, pixels: Tensor) -> Tensor:
        self._enter("encode", pixels)
        return self._ids(torch.nn.functional.avg_pool2d(pixels.mean(1), FACTOR))

    def decode(self, ids: Tensor) -> Tensor:
        self._enter("decode", ids)
        if (ids == POISON).any():
            raise RuntimeError("the decoder chokes")
        blocks = ids.float() / (LEVELS - 1) * 2 - 1
        pixels = blocks.repeat_interleave(FACTOR, 1).repeat_interleave(FACTOR, 2)
        return pixels.unsqueeze(1).expand(-1, 3, -1, -1)

    def quantize(self, features: Tensor) -> Tensor:
        self._enter("quantize", features)
        return self._ids(features.mean(1))

    def lookup(self, ids: Tensor) -> Tensor:
        self._enter("lookup", ids)
        return (ids.float() / (LEVELS - 1) * 2 - 1).unsqueeze(1).repeat(1, self.latent_dim, 1, 1)

    def _ids(self, brightness: Tensor) -> Tensor:
        return ((brightness + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long()

    def _enter(self, operation: str, inputs: Tensor) -> None:
        self.entered.release()
        assert self.open.wait(timeout=30)
        self.batches.append((operation, tuple(inputs.shape)))
