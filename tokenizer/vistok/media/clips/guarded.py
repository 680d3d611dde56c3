"""A file as FFmpeg's libraries use it: they may swallow what it raises, so that is kept for who called."""

import os
from typing import Any


class Guarded:
    """The part of a file-like object that reading and writing share.

    Attributes:
        failure: what reading or writing raised.
    """

    def __init__(self, file: Any, seekable: bool) -> None:
        self.failure: Exception | None = None
        self._file = file
        self._seekable = seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place, as in a file."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Give the place that is read or written next."""
        return int(self._file.tell())

    def seekable(self) -> bool:
        """Say whether `seek` works."""
        return self._seekable

    def raise_failure(self) -> None:
        """Raise what reading or writing raised, if it did."""
        if self.failure is not None:
            raise self.failure
