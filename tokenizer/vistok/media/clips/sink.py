"""Where the bytes of a clip go: a file, or anything with `write`."""

from pathlib import Path
from typing import BinaryIO

from vistok.media.clips.guarded import Guarded
from vistok_protocol.errors import ErrorCode, VistokError


class ClipSink(Guarded):
    """A file-like object over a target, for PyAV to write to."""

    def __init__(self, target: BinaryIO | Path) -> None:
        self._path = target if isinstance(target, Path) else None
        file = _created(target) if isinstance(target, Path) else target
        seekable = getattr(file, "seekable", None)
        super().__init__(file, hasattr(file, "seek") and (seekable is None or bool(seekable())))
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
                self.failure = error
                raise
        return len(data)

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
