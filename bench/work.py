"""The work that every server of `serving.py` does: a JPEG to ids, by one tokenizer at one size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vistok.media.fitting import Fit, prepare
from vistok.media.image import read_image
from vistok.media.limits import Limits
from vistok.media.pixels import to_model
from vistok.tokenizer import VisualTokenizer

_LIMITS = Limits(10**7, 10**8)
AS_IT_IS = "as-it-is"


class Work:
    """Decoding with resizing, and the model; `size` is HxW or `AS_IT_IS`."""

    def __init__(self, source: str | Path, size: str) -> None:
        torch.set_num_threads(1)
        self._tokenizer = VisualTokenizer.from_pretrained(source)
        self._fit = Fit() if size == AS_IT_IS else Fit.parse(None, "resize", size)

    def pixels(self, body: bytes) -> np.ndarray:
        """Give uint8 `(h w 3)` as the model takes it."""
        return prepare(read_image(body, _LIMITS), self._fit, self._tokenizer.factor).pixels

    def ids(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Give the ids `(h w)` of pictures of one size."""
        return list(self._tokenizer.encode(to_model(np.stack(pictures))).numpy())
