"""Colours of high dynamic range (PQ, HLG) and of the wide gamut of BT.2020, as screens show them in sRGB."""

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

_BT2020_PRIMARIES = 9
_PQ, _HLG = 16, 18
# The light of white paper, in candelas per square metre (ITU-R BT.2408); what is brighter is a highlight.
_WHITE = 203.0
_HLG_PEAK = 1000.0
# Above this share of white, brightness is bent so that highlights keep their shapes.
_KNEE = 0.8
_POINTS = 33

_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])


def to_standard_colours(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Bring uint8 `(h w 3)`, marked by ISO/IEC 23091-4 numbers, to uint8 sRGB; most clips are so already."""
    if transfer not in (_PQ, _HLG) and primaries != _BT2020_PRIMARIES:
        return pixels
    table = _table(transfer if transfer in (_PQ, _HLG) else 0, primaries == _BT2020_PRIMARIES)
    return np.asarray(Image.fromarray(pixels).filter(table))


@cache
def _table(transfer: int, wide: bool) -> ImageFilter.Color3DLUT:
    """Tabulate the conversion on a cube of colours; between its points Pillow interpolates."""
    steps = np.linspace(0, 1, _POINTS)
    # Pillow's tables have red as the side that changes fastest.
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    light = _light(np.stack([red, green, blue], axis=-1), transfer)
    light = np.clip(light @ _TO_BT709.T if wide else light, 0, None)
    if transfer:
        light = _without_glare(light)
        values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    else:
        # Viewers show ordinary video's curve as if it were sRGB's: here it is only taken off and put on.
        values = light ** (1 / 2.4)
    return ImageFilter.Color3DLUT(_POINTS, np.clip(values, 0, 1).reshape(-1).tolist())


def _light(values: np.ndarray, transfer: int) -> np.ndarray:
    """Give the light that values stand for, 1 being white."""
    if transfer == _PQ:
        power = values ** (32 / 2523)
        share = np.clip(power - 3424 / 4096, 0, None) / (2413 / 128 - 2392 / 128 * power)
        return 10_000 / _WHITE * share ** (16384 / 2610)
    if transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
        # A screen's brightness grows faster than the scene's, by the power of 1.2 at 1000 candelas.
        return _HLG_PEAK / _WHITE * scene * (scene @ _LUMINANCE)[..., None] ** 0.2
    return values**2.4


def _without_glare(light: np.ndarray) -> np.ndarray:
    """Bend what is brighter than the knee towards white, by the brightest channel so that hues stay."""
    brightest = light.max(axis=-1, keepdims=True)
    room = 1 - _KNEE
    over = np.clip(brightest - _KNEE, 0, None)
    bent = np.where(brightest > _KNEE, _KNEE + room * (1 - np.exp(-over / room)), brightest)
    return light * bent / np.maximum(brightest, 1e-9)
