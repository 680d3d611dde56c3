"""Files that are written as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO
from uuid import uuid4


@contextmanager
def new_file(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` at the end of the block; a failure leaves nothing of it."""
    # Where a link leads, so that the link stays.
    target = Path(os.path.realpath(path))
    # Beside it, because only within one file system a file takes another's place at once.
    temporary = target.with_name(f".{uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
