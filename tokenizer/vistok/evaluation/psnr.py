"""Peak signal-to-noise ratio; needs numpy alone."""

import math

import numpy as np


def psnr(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures of one shape; infinite where they are equal."""
    difference = original.astype(np.float64) - reconstruction.astype(np.float64)
    error = float(np.mean(difference * difference))
    return 10 * math.log10(255**2 / error) if error else math.inf
