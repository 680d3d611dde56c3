"""Where the bytes of a clip go: a file, or anything with `write`."""

from pathlib import Path
from typing import BinaryIO

from vistok_protocol.errors import ErrorCode, VistokError


class ClipSink:
    """A file-like object over a target, for PyAV to write to."""

    def __init__(self, target: BinaryIO | Path) -> None:
        self._path = target if isinstance(target, Path) else None
        self._file = _created(target) if isinstance(target, Path) else target
        seekable = getattr(self._file, "seekable", None)
        self._seekable = hasattr(self._file, "seek") and (seekable is None or bool(seekable()))
        self._failure: Exception | None = None
        self._abandoned = False

    def write(self, data: bytes) -> int:
        """Write all of `data`; nothing once the clip is abandoned."""
        if not self._abandoned:
            try:
                # A raw stream may take less than it is given.
                view = memoryview(data)
                while len(view):
                    written = self._file.write(view)
                    view = view[len(view) if written is None else written :]
            except Exception as error:
                self._failure = error
                raise
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place, as in a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Give the place that is written next."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Say whether `seek` works."""
        return self._seekable

    def raise_failure(self) -> None:
        """Raise what the target raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Write nothing more, and remove a file that was created."""
        self._abandoned = True
        if self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._path is not None:
            self._file.close()


def _created(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a file that can be written, got {path}: {error.strerror}"
        ) from None
