"""Figures against their definitions and an independent implementation."""

import math

import numpy as np
import pytest

from tests.pictures import scene
from vistok.evaluation.psnr import psnr
from vistok.evaluation.ssim import ssim
from vistok.media.pixels import to_model


def test_psnr_by_its_definition() -> None:
    picture = scene(32, 32)
    assert psnr(picture, picture) == math.inf
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(flat, flat + 10) == pytest.approx(10 * math.log10(255**2 / 100))


def ssim_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    """The formula, window by window, in double precision."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for colour in range(3):
        a, b = first[..., colour] / 255, second[..., colour] / 255
        for y in range(a.shape[0] - 10):
            for x in range(a.shape[1] - 10):
                p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                covariance = (window * (p - mean_p) * (q - mean_q)).sum()
                values.append(
                    (2 * mean_p * mean_q + 1e-4) * (2 * covariance + 9e-4)
                    / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4))
                )  # fmt: skip
    return float(np.mean(values))


def test_ssim_by_its_definition() -> None:
    first = scene(24, 30)
    noise = np.random.default_rng(0).integers(-30, 30, first.shape)
    second = (first.astype(int) + noise).clip(0, 255).astype(np.uint8)
    measured = ssim(to_model(first[None]), to_model(second[None])).item()
    assert measured == pytest.approx(ssim_by_loops(first, second), abs=1e-4)
    assert ssim(to_model(first[None]), to_model(first[None])).item() == pytest.approx(1)
