"""Encoded pictures of many kinds, and what bad cables, bad programs and bad people make of them."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from tests.pictures import scene

Mutation = Callable[[np.random.Generator, bytes], bytes]


def whole_pictures() -> list[bytes]:
    """One picture in the formats that are read, each in the variants that have code of their own."""
    colour = Image.fromarray(scene(37, 45))
    grey, palette, print_colours = colour.convert("L"), colour.quantize(17), colour.convert("CMYK")
    glass = colour.copy()
    glass.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    two = {"save_all": True, "append_images": [colour.rotate(90)]}
    return [
        *(saved(picture, "jpeg") for picture in (colour, grey, print_colours)),
        saved(colour, "jpeg", progressive=True, exif=turned, quality=30),
        *(saved(picture, "png") for picture in (colour, grey, palette, glass, deep, palette.convert("1"))),
        saved(palette, "png", transparency=3),
        *(saved(picture, "webp") for picture in (colour, glass)),
        saved(glass, "webp", lossless=True),
        saved(colour, "webp", **two),
        *(saved(picture, "gif") for picture in (colour, palette)),
        saved(colour, "gif", **two),
        *(saved(picture, "bmp") for picture in (colour, grey, palette, glass)),
        *(saved(picture, "tiff") for picture in (colour, glass, deep, print_colours)),
        *(saved(colour, "tiff", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")),
        saved(palette, "tiff", compression="packbits"),
        saved(colour.convert("1"), "tiff", compression="group4"),
        saved(colour, "tiff", **two),
        *(saved(picture, "ppm") for picture in (colour, grey, deep)),
        saved(colour, "avif"),
    ]


def saved(picture: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def mutated(random: np.random.Generator, pictures: list[bytes]) -> bytes:
    """Damage one of the pictures once, or a few times over."""
    data = pictures[random.integers(len(pictures))]
    for _ in range(random.integers(1, 4)):
        data = MUTATIONS[random.integers(len(MUTATIONS))](random, data)
    if random.random() < 0.1:
        data = _with_head_of(random, pictures[random.integers(len(pictures))], data)
    return data


def _flip_bits(random: np.random.Generator, data: bytes) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    places = random.integers(0, max(1, len(array)), random.integers(1, 10))
    array[places[places < len(array)]] ^= np.uint8(1 << random.integers(8))
    return array.tobytes()


def _flip_early_bits(random: np.random.Generator, data: bytes) -> bytes:
    """Where headers are: sizes, counts, offsets."""
    end = int(random.integers(8, 200))
    return _flip_bits(random, data[:end]) + data[end:]


def _set_extreme(random: np.random.Generator, data: bytes) -> bytes:
    """As a number that is as small or as large as it can be."""
    place, width = int(random.integers(0, len(data) + 1)), int(random.choice([1, 2, 4]))
    value = random.choice([b"\x00", b"\xff", b"\x7f", b"\x80"])
    return data[:place] + bytes(value) * width + data[place + width :]


def _cut_end(random: np.random.Generator, data: bytes) -> bytes:
    return data[: random.integers(0, len(data) + 1)]


def _cut_out(random: np.random.Generator, data: bytes) -> bytes:
    start, end = _stretch(random, data)
    return data[:start] + data[end:]


def _insert_noise(random: np.random.Generator, data: bytes) -> bytes:
    place = int(random.integers(0, len(data) + 1))
    return data[:place] + random.bytes(int(random.integers(1, 64))) + data[place:]


def _repeat(random: np.random.Generator, data: bytes) -> bytes:
    start, end = _stretch(random, data)
    return data[:end] + data[start:end] * int(random.integers(1, 6)) + data[end:]


def _with_head_of(random: np.random.Generator, other: bytes, data: bytes) -> bytes:
    end = int(random.integers(4, 64))
    return other[:end] + data[end:]


def _stretch(random: np.random.Generator, data: bytes) -> tuple[int, int]:
    start = int(random.integers(0, len(data) + 1))
    return start, min(len(data), start + int(random.integers(1, 100)))


MUTATIONS: list[Mutation] = [
    _flip_bits,
    _flip_early_bits,
    _set_extreme,
    _cut_end,
    _cut_out,
    _insert_noise,
    _repeat,
]
