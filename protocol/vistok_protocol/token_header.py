"""The part of token bytes before the ids: fields, their checks and their layout.

Specified in docs/token-format.md. Knows nothing of arrays: sizes here are Python integers, which
do not overflow, and nothing is allocated on their word.
"""

import math
import re
import struct
from dataclasses import dataclass

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.packing import bits_per_id, packed_size

MAGIC = b"VSTK"
VERSION = 1
CHECKSUM_SIZE = 4
MAX_VOCABULARY_SIZE = 2**62
MAX_CODEBOOKS = 2**16 - 1
MAX_UINT32 = 2**32 - 1
# Ids of a vocabulary of one take no bits: nothing in a file backs up how many it claims.
MAX_IDS_WITHOUT_BITS = 2**20

# magic, version, kind, rank, name length, fingerprint, vocabulary size, codebooks, flags,
# height, width, frames, frame rate as numerator and denominator
_FIXED = struct.Struct("<4sBBBB16sQHHIIIII")
_KINDS = {"image": 1, "video": 2}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}
_RANKS = {"image": (1, 2), "video": (1, 3)}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Header:
    """Everything in token bytes but ids and checksum. `frames` is 0 for an image, `rate` (0, 0) for none."""

    tokenizer: str
    fingerprint: str
    kind: str
    shape: tuple[int, ...]
    vocabulary_size: int
    codebooks: int
    height: int
    width: int
    frames: int = 0
    rate: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Refuse what the format forbids: VistokError INVALID_TOKENS or INVALID_SHAPE."""
        self._check_names()
        self._check_numbers()
        self._check_pixels()
        self._check_shape()

    @property
    def count(self) -> int:
        """The number of ids."""
        return math.prod(self.shape) * self.codebooks

    @property
    def bits(self) -> int:
        """The number of bits that one id takes."""
        return bits_per_id(self.vocabulary_size)

    @property
    def size(self) -> int:
        """The number of bytes before the packed ids."""
        return _FIXED.size + 4 * len(self.shape) + len(self.tokenizer)

    @property
    def total_size(self) -> int:
        """The number of bytes of the whole: header, packed ids, checksum."""
        return self.size + packed_size(self.count, self.bits) + CHECKSUM_SIZE

    def to_bytes(self) -> bytes:
        """Return the `size` bytes that open the token bytes."""
        fixed = _FIXED.pack(
            MAGIC,
            VERSION,
            _KINDS[self.kind],
            len(self.shape),
            len(self.tokenizer),
            bytes.fromhex(self.fingerprint),
            self.vocabulary_size,
            self.codebooks,
            0,
            self.height,
            self.width,
            self.frames,
            *self.rate,
        )
        return fixed + struct.pack(f"<{len(self.shape)}I", *self.shape) + self.tokenizer.encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Header":
        """Read the header that opens `data`; VistokError INVALID_TOKENS or INVALID_SHAPE if it is none."""
        _check_opening(data)
        (
            _,
            _,
            kind,
            rank,
            name_length,
            fingerprint,
            vocabulary_size,
            codebooks,
            flags,
            height,
            width,
            *time,
        ) = _FIXED.unpack_from(data)
        if kind not in _KIND_NAMES:
            raise _invalid(f"expected kind 1 (image) or 2 (video), got {kind}")
        if flags:
            raise _invalid(f"expected no flags, got {flags:#06x}: the tokens may be from a newer version")
        end_of_shape = _FIXED.size + 4 * rank
        if len(data) < end_of_shape + name_length:
            raise _invalid(f"the token bytes end inside their header, after {len(data)} bytes")
        return cls(
            tokenizer=_ascii(data[end_of_shape : end_of_shape + name_length]),
            fingerprint=fingerprint.hex(),
            kind=_KIND_NAMES[kind],
            shape=struct.unpack_from(f"<{rank}I", data, _FIXED.size),
            vocabulary_size=vocabulary_size,
            codebooks=codebooks,
            height=height,
            width=width,
            frames=time[0],
            rate=(time[1], time[2]),
        )

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.tokenizer):
            raise _invalid(
                "expected a tokenizer name of 1 to 128 letters, digits or . _ - : / @ + that starts with "
                f"a letter or a digit, got {self.tokenizer[:200]!r}"
            )
        if not _FINGERPRINT.fullmatch(self.fingerprint):
            raise _invalid(
                f"expected a fingerprint of 32 lower-case hex digits, got {self.fingerprint[:64]!r}"
            )
        if self.kind not in _KINDS:
            raise _invalid(f"expected kind 'image' or 'video', got {self.kind!r}")

    def _check_numbers(self) -> None:
        _check_range("a vocabulary size", self.vocabulary_size, 1, MAX_VOCABULARY_SIZE)
        _check_range("a number of codebooks", self.codebooks, 1, MAX_CODEBOOKS)

    def _check_pixels(self) -> None:
        _check_range("a height in pixels", self.height, 1, MAX_UINT32)
        _check_range("a width in pixels", self.width, 1, MAX_UINT32)
        if self.kind == "image" and (self.frames or self.rate != (0, 0)):
            raise _invalid(f"an image has no frames and no frame rate, got {self.frames} and {self.rate}")
        if self.kind == "video":
            _check_range("a number of frames", self.frames, 1, MAX_UINT32)
        if self.rate != (0, 0):
            _check_range("a frame rate's numerator", self.rate[0], 1, MAX_UINT32)
            _check_range("a frame rate's denominator", self.rate[1], 1, MAX_UINT32)
            if math.gcd(*self.rate) != 1:
                raise _invalid(f"expected a frame rate in lowest terms, got {self.rate[0]}/{self.rate[1]}")

    def _check_shape(self) -> None:
        if len(self.shape) not in _RANKS[self.kind]:
            expected = {"image": "(h w) or (n)", "video": "(t h w) or (n)"}[self.kind]
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected ids {expected} for kind {self.kind!r}, got shape {self.shape}",
            )
        if not all(1 <= size <= MAX_UINT32 for size in self.shape):
            raise VistokError(
                ErrorCode.INVALID_SHAPE, f"expected dimensions from 1 to {MAX_UINT32}, got shape {self.shape}"
            )
        if self.bits == 0 and self.count > MAX_IDS_WITHOUT_BITS:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected at most {MAX_IDS_WITHOUT_BITS} ids with a vocabulary of 1, got {self.count}",
            )


def _check_opening(data: bytes | memoryview) -> None:
    if bytes(data[:4]) != MAGIC:
        raise _invalid(
            f"these are not token bytes: expected them to start with {MAGIC!r}, got {bytes(data[:4])!r}"
        )
    if len(data) < _FIXED.size:
        raise _invalid(f"the token bytes end inside their header, after {len(data)} bytes")
    if data[4] != VERSION:
        raise _invalid(f"expected version {VERSION} of the token format, got {data[4]}")


def _check_range(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _invalid(f"expected {what} from {least} to {most}, got {value}")


def _ascii(data: bytes | memoryview) -> str:
    # Other bytes become characters that the check of the name refuses, with a message that shows them.
    return bytes(data).decode("ascii", errors="backslashreplace")


def _invalid(detail: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_TOKENS, detail)
