"""The bytes of a clip, wherever they come from: counted, and looked at before they are decoded."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vistok.media.clips.guarded import Guarded
from vistok.media.clips.limits import ClipLimits
from vistok_protocol.errors import ErrorCode, VistokError


class ClipSource(Guarded):
    """A file-like object over bytes, a file, or a stream that is still arriving.

    It is what PyAV and Pillow read from. It has no name, so FFmpeg judges a clip by its content alone.
    """

    def __init__(self, file: BinaryIO, limits: ClipLimits, part: bool) -> None:
        """Read from `file`; `part` is whether less than all of it may be wanted."""
        super().__init__(file, _is_seekable(file))
        self._limits = limits
        # A stream gives what it has: read(n) of a buffered one would wait for all n bytes.
        self._read_some: Callable[[int], bytes | None] = getattr(file, "read1", file.read)
        self._ahead = b""
        self._count = 0
        # A known size within the limit needs no counting, however often decoders go back and forth.
        self._counted = True
        if self._seekable:
            size = self._size()
            self._counted = size > limits.max_bytes
            if not part:
                limits.check_bytes(size)

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes, and none at the end; a stream gives what it has."""
        try:
            data = self._read(count)
        except Exception as error:
            self.failure = error
            raise
        return data

    def only_forward(self) -> None:
        """Let decoders take it for a stream from here on."""
        self._seekable = False

    def peek(self, count: int) -> bytes:
        """Look at the next `count` bytes, fewer at the end, without taking them."""
        if self._seekable:
            place = self.tell()
            data = self._whole(count)
            self.seek(place)
            return data
        while len(self._ahead) < count and (more := self._from_file(count - len(self._ahead))):
            self._ahead += more
        return self._ahead[:count]

    def rest(self) -> bytes:
        """Read all that is left."""
        return self._whole(-1)

    def _whole(self, count: int) -> bytes:
        chunks, missing = [], count
        while missing and (chunk := self.read(2**16 if count < 0 else missing)):
            chunks.append(chunk)
            missing -= 0 if count < 0 else len(chunk)
        return b"".join(chunks)

    def _read(self, count: int) -> bytes:
        data = self._ahead or self._from_file(count)
        # PyAV copies what it gets into a buffer of `count` bytes without looking.
        self._ahead = data[count:]
        return data[:count]

    def _from_file(self, count: int) -> bytes:
        data = bytes(self._read_some(count) or b"")
        self._count += len(data)
        if self._counted:
            self._limits.check_bytes(self._count, more=True)
        return data

    def _size(self) -> int:
        place = self._file.tell()
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(place)
        return size


@contextmanager
def opened_source(source: bytes | Path | BinaryIO, limits: ClipLimits, part: bool) -> Iterator[ClipSource]:
    """Give the bytes of `source`; what was opened here is closed.

    Raises:
        VistokError: EMPTY_BODY, TOO_LARGE (of a known size), INVALID_REQUEST (no such file).
    """
    if isinstance(source, Path):
        with _opened_file(source) as file:
            yield _not_empty(ClipSource(file, limits, part))
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _not_empty(ClipSource(io.BytesIO(source), limits, part))
    else:
        yield _not_empty(ClipSource(source, limits, part))


def _opened_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a file that can be read, got {path}: {error.strerror}"
        ) from None


def _not_empty(source: ClipSource) -> ClipSource:
    if not source.peek(1):
        raise VistokError(ErrorCode.EMPTY_BODY, "expected a clip, got 0 bytes")
    return source


def _is_seekable(file: BinaryIO) -> bool:
    # A file-like object may have no more than `read`.
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") and hasattr(file, "tell") and (seekable is None or bool(seekable()))
