"""Clips as bodies to send: in pieces, so that a film needs no more memory than one of them."""

import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from vistok_client._inputs import UNKNOWN_TYPE, media_type_of
from vistok_client.errors import InvalidInput
from vistok_protocol import media_types
from vistok_protocol.npy import npy_header

Clip = str | PathLike[str] | bytes | IO[bytes] | NDArray[np.uint8]
"""A path, the bytes of a file, an open binary file, or a uint8 array (t h w 3)."""

# What can be iterated over as well, though not for pieces.
WHOLE = (str, bytes, bytearray, memoryview, np.ndarray)

Pieces = Iterator[bytes] | AsyncIterator[bytes]

PIECE_BYTES = 256 * 1024
# As many as tell what kind of file it is.
HEAD_BYTES = 16


@dataclass(frozen=True)
class Upload:
    """What is sent in pieces: `opened` gives them from the beginning, once or, if repeatable, each time."""

    opened: Callable[[], AbstractContextManager[Pieces]]
    media_type: str = UNKNOWN_TYPE
    length: int | None = None
    is_repeatable: bool = True

    @asynccontextmanager
    async def opened_async(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Do what `opened` does; pieces that may have to be waited for come from a thread."""
        with self.opened() as pieces:
            yield pieces if isinstance(pieces, AsyncIterator) else _FromThread(pieces)


def clip_upload(clip: Clip) -> Upload:
    """Return what is sent for a clip; InvalidInput, or OSError when a file cannot be read."""
    match clip:
        case str() | PathLike():
            return _path_upload(Path(clip))
        case bytes() | bytearray() | memoryview():
            return _bytes_upload(bytes(clip))
        case np.ndarray():
            return _array_upload(clip)
    if hasattr(clip, "read"):
        return _file_upload(clip)
    raise InvalidInput(
        f"expected a clip as a path, bytes, binary file or uint8 array (t h w 3), got {type(clip).__name__}"
    )


def stream_upload(clip: Clip | Iterable[bytes] | AsyncIterable[bytes]) -> Upload:
    """Return what is sent for a clip that may also come as pieces of a file, which go once."""
    if isinstance(clip, AsyncIterable):
        return Upload(lambda: nullcontext(aiter(clip)), is_repeatable=False)
    if isinstance(clip, Iterable) and not isinstance(clip, WHOLE) and not hasattr(clip, "read"):
        return Upload(lambda: nullcontext(iter(clip)), is_repeatable=False)
    return clip_upload(cast(Clip, clip))


def _path_upload(path: Path) -> Upload:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidInput(
            f"expected a file, {path} is a device or a pipe: open it, and give what you opened"
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        length = file.seek(0, io.SEEK_END)

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        with path.open("rb") as file:
            yield _FilePieces(file, length)

    return _upload(opened, head, str(path), length)


def _file_upload(file: IO[Any]) -> Upload:
    if not isinstance(file.read(0), bytes):
        raise InvalidInput("expected a file opened in binary mode ('rb'), got one that reads as text")
    name = str(getattr(file, "name", ""))
    if not (hasattr(file, "seekable") and file.seekable()):
        # Of what is still being written, as much as there is; `read` would wait for a whole piece.
        pieces = iter(partial(getattr(file, "read1", file.read), PIECE_BYTES), b"")
        return Upload(lambda: nullcontext(pieces), media_type_of(b"", name), is_repeatable=False)
    start = file.tell()
    head = file.read(HEAD_BYTES)
    length = file.seek(0, io.SEEK_END) - start
    file.seek(start)

    def opened() -> AbstractContextManager[Iterator[bytes]]:
        file.seek(start)
        return nullcontext(_FilePieces(file, length))

    return _upload(opened, head, name, length)


def _bytes_upload(content: bytes) -> Upload:
    places = range(0, len(content), PIECE_BYTES)

    def opened() -> AbstractContextManager[Iterator[bytes]]:
        return nullcontext(content[place : place + PIECE_BYTES] for place in places)

    return _upload(opened, content[:HEAD_BYTES], "", len(content))


def _array_upload(frames: NDArray[Any]) -> Upload:
    """Send the frames one by one: the array is not copied as a whole."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise InvalidInput(f"expected a clip as uint8 (t h w 3), got {frames.dtype} {frames.shape}")
    header = npy_header(frames.shape, frames.dtype)

    def opened() -> AbstractContextManager[Iterator[bytes]]:
        return nullcontext(part for parts in ([header], map(np.ndarray.tobytes, frames)) for part in parts)

    return Upload(opened, media_types.NPY, len(header) + frames.nbytes)


def _upload(
    opened: Callable[[], AbstractContextManager[Pieces]], head: bytes, name: str, length: int
) -> Upload:
    if not head:
        raise InvalidInput(f"expected a clip, got an empty file {name}".rstrip())
    return Upload(opened, media_type_of(head, name), length)


class _FilePieces(Iterator[bytes]):
    """The next `length` bytes of a file; OSError when it ends before them."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self._left = length

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        piece = self._file.read(min(PIECE_BYTES, self._left))
        if not piece:
            raise OSError(f"the file became shorter while it was sent: {self._left} bytes are missing")
        self._left -= len(piece)
        return piece


class _FromThread(AsyncIterator[bytes]):
    """Pieces, each fetched in a thread. Who does not wait any longer leaves the thread to end by itself."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        # Of its own: those who wait for a camera must not keep other work from the threads that all share.
        self._limiter = CapacityLimiter(1)

    async def __anext__(self) -> bytes:
        piece = await to_thread.run_sync(
            next, self._pieces, None, abandon_on_cancel=True, limiter=self._limiter
        )
        if piece is None:
            raise StopAsyncIteration
        return piece
