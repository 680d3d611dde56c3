"""A clip that arrives through a pipe, as decoders can take it.

Nearly all can be decoded while they arrive. In an MP4 as cameras write it, the index comes last: such a clip
is collected in a temporary file first.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from vistok.media.clips.limits import ClipLimits
from vistok_protocol.errors import ErrorCode, VistokError

# What an MP4 or MOV can begin with, and what says how it goes on: the index first, or the frames.
_BEGINNINGS = {b"ftyp", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_INDEXED, _INDEXED_LATER = {b"moov", b"moof", b"styp", b"sidx"}, {b"mdat"}
# Of what precedes both there are some dozen bytes.
_LOOKED_AT = 2**20
_AT_ONCE = 2**16


class Arriving:
    """A stream of which the beginning has been looked at; `read` gives what has come."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""

    def peek(self, count: int) -> bytes:
        """Look at the first `count` bytes, fewer where it ends, without taking them."""
        if len(self._ahead) < count:
            # A buffered stream waits for all of them.
            self._ahead += self._stream.read(count - len(self._ahead))
        return self._ahead[:count]

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes, and none at the end."""
        if not self._ahead:
            return self._stream.read1(count)  # type: ignore[attr-defined]
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        return data


@contextmanager
def decodable(stream: BinaryIO, max_collected: int) -> Iterator[BinaryIO]:
    """Give what `open_clip` can read: the stream while it arrives, or all of it as a file.

    Raises:
        VistokError: TOO_LARGE as soon as what is collected has more bytes; INTERNAL when the disk is full.
    """
    arriving = Arriving(stream)
    if not _is_indexed_later(arriving):
        # It has `read`, and that is all that is asked of it.
        yield arriving  # type: ignore[misc]
        return
    with tempfile.TemporaryFile() as file:
        _collect(arriving, file, ClipLimits(max_bytes=max_collected))
        yield file


def _collect(arriving: Arriving, file: BinaryIO, limits: ClipLimits) -> None:
    count = 0
    try:
        while data := arriving.read(_AT_ONCE):
            count += len(data)
            limits.check_bytes(count, more=True)
            file.write(data)
        file.seek(0)
    except OSError as error:
        raise VistokError(ErrorCode.INTERNAL, f"the clip cannot be kept: {error.strerror}") from None


def _is_indexed_later(arriving: Arriving) -> bool:
    """Whether this is an MP4 whose frames come before its index, by the names of its first boxes."""
    place = 0
    while place < _LOOKED_AT:
        # Boxes are (ISO/IEC 14496-12) a length, a name, perhaps a longer length, and what they hold.
        head = arriving.peek(place + 16)[place:]
        length, name = int.from_bytes(head[:4]), head[4:8]
        if place == 0 and name not in _BEGINNINGS:
            return False
        if name in _INDEXED | _INDEXED_LATER:
            return name in _INDEXED_LATER
        length = int.from_bytes(head[8:16]) if length == 1 else length
        if length < 8:
            return False
        place += length
    return False
