"""The 196,560 shortest vectors of the Leech lattice, built from the Golay code (Conway and Sloane, ch. 4).

Times sqrt(8), in which scale their squared length is 32, and in this order:

| rows | shape | order |
| --- | --- | --- |
| 0 to 97,151 | eight times 2 or -2, on an octad; evenly many minus signs | octads, then 128 patterns |
| 97,152 to 195,455 | one -3 and 23 times 1, signs changed on a word | 4,096 words, then the place of the 3 |
| 195,456 to 196,559 | twice 4 or -4 | pairs of places (i < j), then signs ++, +-, -+, -- |

Words are in the order of their first twelve bits, read as a number with the first bit highest; octads are the
words of weight 8, in the same order. A pattern is the number whose bits are the first seven signs, 1 for
minus, the first highest; the eighth sign makes the minus signs even. Published tables may list the same
vectors in other orders.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OCTADS, PATTERNS, WORDS, DIMENSIONS = 759, 128, 4096, 24
FIRST_OF_WORDS = OCTADS * PATTERNS
FIRST_OF_PAIRS = FIRST_OF_WORDS + WORDS * DIMENSIONS
COUNT = FIRST_OF_PAIRS + DIMENSIONS * (DIMENSIONS - 1) * 2
SQUARED_LENGTH = 32


class Leech(NamedTuple):
    """The lattice's tables."""

    vectors: NDArray[np.int8]
    """`(196560 24)`, of squared length 32."""
    octads: NDArray[np.int64]
    """`(759 8)`: the places of each octad, ascending."""
    words: NDArray[np.int8]
    """`(4096 24)`: the bits of the Golay code's words."""


@cache
def leech() -> Leech:
    """Build the tables, once per process."""
    words = _golay_words()
    octads = np.nonzero(words[words.sum(axis=1) == 8])[1].reshape(OCTADS, 8)
    vectors = np.concatenate([_on_octads(octads), _on_words(words), _on_pairs()])
    return Leech(vectors, octads, words)


def bits_of(numbers: NDArray[np.int64], count: int) -> NDArray[np.int8]:
    """Give the last `count` bits of numbers `(n)` as `(n count)`, the highest first."""
    return (numbers[:, None] >> np.arange(count - 1, -1, -1) & 1).astype(np.int8)


def _golay_words() -> NDArray[np.int8]:
    """Give the words of the extended code: twelve bits of message, twelve of parity.

    The parity of the last eleven message bits is a circulant of the squares modulo 11, with a border of ones.
    """
    squares = {k * k % 11 for k in range(11)}
    parity = np.ones((12, 12), dtype=np.int8)
    parity[0, 0] = 0
    parity[1:, 1:] = [[(j - i) % 11 in squares for j in range(11)] for i in range(11)]
    messages = bits_of(np.arange(WORDS), 12)
    return np.concatenate([messages, messages @ parity % 2], axis=1)


def _on_octads(octads: NDArray[np.int64]) -> NDArray[np.int8]:
    minus = bits_of(np.arange(PATTERNS), 7)
    minus = np.concatenate([minus, minus.sum(axis=1, keepdims=True, dtype=np.int8) % 2], axis=1)
    vectors = np.zeros((OCTADS, PATTERNS, DIMENSIONS), dtype=np.int8)
    np.put_along_axis(vectors, octads[:, None, :], (2 - 4 * minus)[None], axis=2)
    return vectors.reshape(-1, DIMENSIONS)


def _on_words(words: NDArray[np.int8]) -> NDArray[np.int8]:
    shapes = 1 - 4 * np.eye(DIMENSIONS, dtype=np.int8)
    return ((1 - 2 * words)[:, None, :] * shapes).reshape(-1, DIMENSIONS)


def _on_pairs() -> NDArray[np.int8]:
    first, second = np.triu_indices(DIMENSIONS, k=1)
    vectors = np.zeros((len(first), 4, DIMENSIONS), dtype=np.int8)
    rows = np.arange(len(first))
    vectors[rows, :, first] = [4, 4, -4, -4]
    vectors[rows, :, second] = [4, -4, 4, -4]
    return vectors.reshape(-1, DIMENSIONS)
