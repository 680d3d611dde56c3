"""Structural similarity, as the field measures it, and as a loss."""

import torch
import torch.nn.functional as functional
from torch import Tensor

_WINDOW = 11
_SIGMA = 1.5


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity of pictures `(b c h w)` in [-1, 1], each side at least 11 pixels.

    Gaussian window of 11 pixels with a deviation of 1.5, K1 = 0.01, K2 = 0.03, every channel by itself
    (Wang et al., IEEE Transactions on Image Processing 13(4), 2004). Differentiable.
    """
    channels = first.shape[1]
    first, second = (first + 1) / 2, (second + 1) / 2
    moments = torch.cat([first, second, first * first, second * second, first * second])
    blurred = _blur(moments.float(), channels)
    mean_1, mean_2, square_1, square_2, product = blurred.chunk(5)
    variance_1, variance_2 = square_1 - mean_1**2, square_2 - mean_2**2
    covariance = product - mean_1 * mean_2
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    structure = (2 * covariance + c2) / (variance_1 + variance_2 + c2)
    return (luminance * structure).mean()


def _blur(pictures: Tensor, channels: int) -> Tensor:
    offsets = torch.arange(_WINDOW, device=pictures.device, dtype=torch.float32) - _WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).repeat(channels, 1, 1, 1)
    rows = functional.conv2d(pictures, kernel.movedim(2, 3).reshape(channels, 1, _WINDOW, 1), groups=channels)
    return functional.conv2d(rows, kernel.reshape(channels, 1, 1, _WINDOW), groups=channels)
