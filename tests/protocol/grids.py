"""Token grids for the tests, and hypothesis strategies that make them."""

import math
import zlib
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from vistok_protocol.tokens import PixelSize, TokenGrid

FINGERPRINT = "000102030405060708090a0b0c0d0e0f"
VOCABULARIES = [1, 2, 3, 255, 256, 257, 1000, 64_000, 2**16, 2**18, 2**31, 2**32, 2**36, 2**57 + 1, 2**62]

small = st.integers(1, 5)
halves = st.integers(1, 2**32 - 1)
rates = st.none() | st.builds(Fraction, halves, halves)


def image_grid() -> TokenGrid:
    """Make the grid of the worked example in docs/token-format.md."""
    ids = np.array([[1, 2, 3], [997, 998, 999]])
    return TokenGrid(ids, "demo", FINGERPRINT, "image", 1000, PixelSize(5, 9))


def video_grid() -> TokenGrid:
    """Make a grid of a clip with two codebooks."""
    ids = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    size = PixelSize(24, 32, frames=5, fps=Fraction(30000, 1001))
    return TokenGrid(ids, "clip/v1", FINGERPRINT, "video", 64, size, codebooks=2)


@st.composite
def pixel_sizes(draw: st.DrawFn, kind: str) -> PixelSize:
    height, width = draw(st.integers(1, 2**32 - 1)), draw(st.integers(1, 2**32 - 1))
    if kind == "image":
        return PixelSize(height, width)
    return PixelSize(height, width, draw(st.integers(1, 2**32 - 1)), draw(rates))


@st.composite
def grids(draw: st.DrawFn) -> TokenGrid:
    kind = draw(st.sampled_from(["image", "video"]))
    rank = draw(st.sampled_from([1, 2] if kind == "image" else [1, 3]))
    shape = tuple(draw(small) for _ in range(rank))
    codebooks = draw(st.integers(1, 3))
    vocabulary_size = draw(st.sampled_from(VOCABULARIES) | st.integers(1, 2**62))
    count = math.prod(shape) * codebooks
    ids = draw(st.lists(st.integers(0, vocabulary_size - 1), min_size=count, max_size=count))
    axes = shape if codebooks == 1 else (*shape, codebooks)
    return TokenGrid(
        ids=np.array(ids, dtype=np.int64).reshape(axes),
        tokenizer=draw(st.sampled_from("az09AZ")) + draw(st.text("m5Q._:/@+-", max_size=127)),
        fingerprint=draw(st.binary(min_size=16, max_size=16)).hex(),
        kind=kind,
        vocabulary_size=vocabulary_size,
        pixels=draw(pixel_sizes(kind)),
        codebooks=codebooks,
    )


def with_bytes(data: bytes, offset: int, replacement: bytes) -> bytes:
    """Write over token bytes and give them the right checksum again."""
    content = bytearray(data[:-4])
    content[offset : offset + len(replacement)] = replacement
    return bytes(content) + zlib.crc32(content).to_bytes(4, "little")
