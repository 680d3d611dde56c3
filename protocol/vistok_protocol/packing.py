"""Ids packed at a fixed number of bits each, without gaps, least significant bit first.

Knows nothing of grids or headers. Works in blocks, so that the memory beside input and output
does not grow with the number of ids.
"""

import numpy as np
from numpy.typing import NDArray

# A multiple of 8, so that every block but the last fills whole bytes at any width.
BLOCK = 1 << 16


def bits_per_id(vocabulary_size: int) -> int:
    """Return ceil(log2(vocabulary_size)): 0 for a vocabulary of one."""
    return (vocabulary_size - 1).bit_length()


def packed_size(count: int, bits: int) -> int:
    """Return the number of bytes that `count` ids of `bits` bits take."""
    return -(-count * bits // 8)


def pack_ids(ids: NDArray[np.int64], bits: int) -> bytes:
    """Pack flat non-negative ids, each below 2**bits, with bits in [0, 63]; fill the last byte with zeros."""
    if bits == 0:
        return b""
    return b"".join(_pack_block(ids[start : start + BLOCK], bits) for start in range(0, ids.size, BLOCK))


def unpack_ids(packed: bytes | memoryview, bits: int, count: int) -> NDArray[np.int64]:
    """Return `count` ids from exactly `packed_size(count, bits)` bytes."""
    ids = np.zeros(count, dtype=np.int64)
    if bits == 0:
        return ids
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        block = packed[start * bits // 8 : packed_size(stop, bits)]
        ids[start:stop] = _unpack_block(block, bits, stop - start)
    return ids


def _pack_block(ids: NDArray[np.int64], bits: int) -> bytes:
    eight_bytes = ids.astype("<u8").view(np.uint8).reshape(-1, 8)
    id_bits = np.unpackbits(eight_bytes, axis=1, count=bits, bitorder="little")
    return np.packbits(id_bits.reshape(-1), bitorder="little").tobytes()


def _unpack_block(packed: bytes | memoryview, bits: int, count: int) -> NDArray[np.int64]:
    width = packed_size(1, bits)
    stream = np.frombuffer(packed, dtype=np.uint8)
    id_bits = np.zeros((count, 8 * width), dtype=np.uint8)
    id_bits[:, :bits] = np.unpackbits(stream, count=count * bits, bitorder="little").reshape(count, bits)
    eight_bytes = np.zeros((count, 8), dtype=np.uint8)
    eight_bytes[:, :width] = np.packbits(id_bits.reshape(-1), bitorder="little").reshape(count, width)
    return eight_bytes.view("<i8")[:, 0].astype(np.int64)
