"""Pictures made on the spot: smooth, with edges, and different for each seed."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A sky-like gradient with discs of random colours, uint8 `(h w 3)`."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    pixels = np.stack([rows * 200 / height, columns * 200 / width, 120 + 60 * np.sin(rows / 9)], axis=-1)
    for _ in range(6):
        y, x, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(3, 20)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        pixels[inside] = random.uniform(0, 255, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, image_format: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def write_folder(folder: Path, count: int, height: int = 96, width: int = 128) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03}.png").write_bytes(encoded(scene(height, width, index)))
    return folder
