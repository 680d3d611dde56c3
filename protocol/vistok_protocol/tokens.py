"""TokenGrid: ids and what is needed to decode them; its bytes.

The bytes are specified in docs/token-format.md. Does not know what the ids mean: a tokenizer with
the same fingerprint does.
"""

import operator
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vistok_protocol.base64url import from_base64url, to_base64url
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.packing import pack_ids, unpack_ids
from vistok_protocol.token_header import CHECKSUM_SIZE, MAX_UINT32, Header

Kind = Literal["image", "video"]

# 2 GiB of ids in memory; whoever reads more says so.
MAX_IDS = 2**28
# Makes a rate such as 30000/1001 exact again after it was a float, in JSON for one.
MAX_FLOAT_DENOMINATOR = 100_000


@dataclass(frozen=True)
class PixelSize:
    """The size of a decoded picture, or of a clip when `frames` is given.

    `height`, `width` and `frames` are from 1 to 2**32 - 1. `fps` (frames per second) is kept as a
    Fraction of such numbers, or None; a float becomes the nearest with a denominator of at most
    100,000. Raises VistokError INVALID_TOKENS.
    """

    height: int
    width: int
    frames: int | None = None
    fps: Fraction | float | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width", "frames"):
            value = getattr(self, name)
            if value is not None or name != "frames":
                object.__setattr__(self, name, _pixel_count(name, value))
        if self.fps is not None:
            object.__setattr__(self, "fps", _exact_rate(self.fps))

    @property
    def rate(self) -> Fraction | None:
        """`fps` as the exact fraction that it is kept as."""
        return None if self.fps is None else Fraction(self.fps)

    @property
    def total(self) -> int:
        """The number of pixels, over all frames."""
        return self.height * self.width * (self.frames or 1)


@dataclass(frozen=True, eq=False)
class TokenGrid:
    """The ids of one picture or clip, and what is needed to decode them.

    `ids` is an integer array (h w), (t h w) or (n), with one more axis (k) at the end when
    `codebooks` is more than one; each id is in [0, vocabulary_size). It is kept as int64.
    `fingerprint` is 32 lower-case hex digits, `vocabulary_size` at most 2**62. A picture has
    neither frames nor a frame rate; a clip has frames and may have a rate.

    Raises VistokError: INVALID_SHAPE for ids of another rank or size, ID_OUT_OF_RANGE for an id
    outside the vocabulary, INVALID_TOKENS for anything else. Grids are equal when all fields are.
    """

    ids: NDArray[np.int64]
    tokenizer: str
    fingerprint: str
    kind: Kind
    vocabulary_size: int
    pixels: PixelSize
    codebooks: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary_size", operator.index(self.vocabulary_size))
        object.__setattr__(self, "codebooks", operator.index(self.codebooks))
        ids = np.asarray(self.ids)
        self._check_ids(ids)
        object.__setattr__(self, "ids", np.ascontiguousarray(ids, dtype=np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the ids without the axis of codebooks: (h w), (t h w) or (n)."""
        return _grid_shape(self.ids, self.codebooks)

    @property
    def bits_per_pixel(self) -> float:
        """The bits that the packed ids take, over the pixels (of all frames) they stand for."""
        return self.ids.size * self._header(self.ids).bits / self.pixels.total

    def to_bytes(self) -> bytes:
        """Return the token bytes; equal grids give equal bytes."""
        header = self._header(self.ids)
        content = header.to_bytes() + pack_ids(self.ids.reshape(-1), header.bits)
        return content + zlib.crc32(content).to_bytes(CHECKSUM_SIZE, "little")

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, *, max_ids: int = MAX_IDS) -> "TokenGrid":
        """Read token bytes; sizes are checked before anything is allocated.

        Raises VistokError: TOO_LARGE for more ids than `max_ids`, INVALID_TOKENS, INVALID_SHAPE or
        ID_OUT_OF_RANGE for anything that the format forbids.
        """
        view = memoryview(data).cast("B")
        header = Header.from_bytes(view)
        _check_size(view, header, max_ids)
        _check_content(view, header)
        axes = header.shape if header.codebooks == 1 else (*header.shape, header.codebooks)
        ids = unpack_ids(view[header.size : -CHECKSUM_SIZE], header.bits, header.count).reshape(axes)
        rate = Fraction(*header.rate) if header.rate != (0, 0) else None
        return cls(
            ids=ids,
            tokenizer=header.tokenizer,
            fingerprint=header.fingerprint,
            kind="image" if header.kind == "image" else "video",
            vocabulary_size=header.vocabulary_size,
            pixels=PixelSize(header.height, header.width, header.frames or None, rate),
            codebooks=header.codebooks,
        )

    def to_base64url(self) -> str:
        """Return the token bytes in base64url without padding, as they stand in a URL or in JSON."""
        return to_base64url(self.to_bytes())

    @classmethod
    def from_base64url(cls, text: str, *, max_ids: int = MAX_IDS) -> "TokenGrid":
        """Read `to_base64url`'s text, with or without padding; errors as in `from_bytes`."""
        return cls.from_bytes(from_base64url(text), max_ids=max_ids)

    @classmethod
    def joined(cls, grids: Iterable["TokenGrid"]) -> "TokenGrid":
        """Return the grid of a whole clip from those of its pieces, in their order.

        Raises VistokError INVALID_TOKENS for no grid at all, other shapes than (t h w), and grids that
        differ in more than their ids and their length.
        """
        pieces = list(grids)
        if not pieces:
            raise _invalid("expected the grids of a clip, got none")
        first = pieces[0]
        for piece in pieces:
            if len(piece.shape) != 3 or piece._of_any_length() != first._of_any_length():
                raise _invalid("expected grids of one clip, which are alike in all but their ids and length")
        frames = sum(piece.pixels.frames or 0 for piece in pieces)
        ids = np.concatenate([piece.ids for piece in pieces])
        return replace(first, ids=ids, pixels=replace(first.pixels, frames=frames))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the token bytes to a file."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | PathLike[str], *, max_ids: int = MAX_IDS) -> "TokenGrid":
        """Read a file of token bytes; OSError when it cannot be read, otherwise as `from_bytes`."""
        return cls.from_bytes(Path(path).read_bytes(), max_ids=max_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenGrid):
            return NotImplemented
        return self._header(self.ids) == other._header(other.ids) and np.array_equal(self.ids, other.ids)

    # The ids can be written to, so a grid is no key of a dict.
    __hash__ = None  # type: ignore[assignment]

    def _check_ids(self, ids: NDArray[Any]) -> None:
        if ids.dtype.kind not in "iu":
            raise VistokError(ErrorCode.INVALID_TOKENS, f"expected integer ids, got an array of {ids.dtype}")
        if self.codebooks > 1 and (ids.ndim < 2 or ids.shape[-1] != self.codebooks):
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected {self.codebooks} codebooks on the last axis of the ids, got shape {ids.shape}",
            )
        self._header(ids)
        least, most = int(ids.min()), int(ids.max())
        if least < 0 or most >= self.vocabulary_size:
            wrong = least if least < 0 else most
            raise VistokError(
                ErrorCode.ID_OUT_OF_RANGE, f"expected ids from 0 to {self.vocabulary_size - 1}, got {wrong}"
            )

    def _of_any_length(self) -> Header:
        """Return the header of this grid if it had one latent frame, for one frame."""
        return replace(self._header(self.ids[:1]), frames=1)

    def _header(self, ids: NDArray[Any]) -> Header:
        rate = self.pixels.rate
        return Header(
            tokenizer=self.tokenizer,
            fingerprint=self.fingerprint,
            kind=self.kind,
            shape=_grid_shape(ids, self.codebooks),
            vocabulary_size=self.vocabulary_size,
            codebooks=self.codebooks,
            height=self.pixels.height,
            width=self.pixels.width,
            frames=self.pixels.frames or 0,
            rate=(0, 0) if rate is None else (rate.numerator, rate.denominator),
        )


def _grid_shape(ids: NDArray[Any], codebooks: int) -> tuple[int, ...]:
    return ids.shape if codebooks == 1 else ids.shape[:-1]


def _check_size(view: memoryview, header: Header, max_ids: int) -> None:
    if header.count > max_ids:
        raise VistokError(
            ErrorCode.TOO_LARGE, f"expected at most {max_ids} ids, the header says {header.count}"
        )
    if len(view) != header.total_size:
        raise _invalid(
            f"expected {header.total_size} token bytes for {header.count} ids of {header.bits} bits, "
            f"got {len(view)}"
        )


def _check_content(view: memoryview, header: Header) -> None:
    content, stored = view[:-CHECKSUM_SIZE], int.from_bytes(view[-CHECKSUM_SIZE:], "little")
    computed = zlib.crc32(content)
    if computed != stored:
        raise _invalid(
            f"the token bytes are damaged: their checksum is {computed:08x}, expected {stored:08x}"
        )
    used = header.count * header.bits % 8
    if used and content[-1] >> used:
        raise _invalid("the unused bits after the last id are not zero")


def _pixel_count(name: str, value: int) -> int:
    count = operator.index(value)
    if not 1 <= count <= MAX_UINT32:
        raise _invalid(f"expected a pixel size's {name} from 1 to {MAX_UINT32}, got {count}")
    return count


def _exact_rate(fps: Fraction | float) -> Fraction:
    try:
        rate = Fraction(fps)
    except (ValueError, OverflowError) as error:
        raise _invalid(f"expected frames per second as a positive number, got {fps}") from error
    if isinstance(fps, float):
        rate = rate.limit_denominator(MAX_FLOAT_DENOMINATOR)
    if not (0 < rate.numerator <= MAX_UINT32 and rate.denominator <= MAX_UINT32):
        raise _invalid(f"expected frames per second as a positive fraction of 32-bit numbers, got {fps}")
    return rate


def _invalid(detail: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_TOKENS, detail)
