"""The only place between uint8 pictures and the network's range."""

import numpy as np
import torch
from torch import Tensor


def to_model(pictures: np.ndarray) -> Tensor:
    """Bring uint8 `(b h w 3)` to float32 `(b 3 h w)` in [-1, 1]."""
    return torch.tensor(pictures).movedim(-1, 1).float() / 127.5 - 1


def to_uint8(pixels: Tensor) -> np.ndarray:
    """Bring `(b 3 h w)` in [-1, 1] to uint8 `(b h w 3)`; values outside are clipped."""
    levels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.movedim(1, -1).cpu().contiguous().numpy()
