"""A folder whose files take so many bytes together; the least recently used go first."""

import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

# A name, or that of a file that is still written. Whatever else lies in the folder is somebody else's.
_OURS = re.compile(r"[0-9a-f]{32,64}(\.new-\w+)?")
# What is made room for at once, as a share of all, so that the folder is seldom looked through.
_ROOM = 16


class BoundedFolder:
    """Files by names of 32 to 64 hexadecimal digits, each of them whole; its methods are for threads.

    When a file was used last is its time of access, so a folder is what it was when it is opened again.
    Several processes may share one, which together can pass the limit by a sixteenth of it each.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: list[str] = []  # whose methods need no lock
        self._room = 0

    def find(self, name: str) -> Path | None:
        """Give the path of a file that is there, and count it as used."""
        path = self.path / name
        with self._lock, suppress(FileNotFoundError):
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
            return path
        return None

    def read(self, name: str) -> bytes | None:
        """Give what is in a file that is there, and count it as used."""
        path = self.find(name)
        if path is not None:
            with suppress(FileNotFoundError):  # another process needed the room
                return path.read_bytes()
        return None

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, also in place of another; OSError when there is no room for it."""
        file = NewFile(self, name)
        try:
            file.write(data)
            file.keep()
        finally:
            file.discard()

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Let a file stay that is found meanwhile, for who reads it by its path; takes no time."""
        self._held.append(name)
        try:
            yield
        finally:
            self._held.remove(name)

    @contextmanager
    def room_for(self, count: int) -> Iterator[None]:
        """Make room for bytes that are written in the context; OSError when there is none."""
        with self._lock:
            if count > self._room:
                self._room = self._make_room(count)
            self._room -= count
            yield

    def _make_room(self, count: int) -> int:
        """Remove what was used least recently; give the bytes that may be written now."""
        wanted = max(count, self.max_bytes // _ROOM)
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, name in files:
            if total + wanted <= self.max_bytes:
                break
            if name not in self._held:
                (self.path / name).unlink(missing_ok=True)
                total -= size
        if total + count > self.max_bytes:
            raise OSError(errno.ENOSPC, f"no room for {count} bytes among {self.max_bytes}")
        return min(wanted, self.max_bytes - total)

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Give the time at which each file was used last, its size and its name."""
        for entry in os.scandir(self.path):
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_atime_ns, status.st_size, entry.name


class NewFile:
    """A file that nobody sees until it is kept.

    Attributes:
        size: bytes that it has, or was to have.
    """

    def __init__(self, folder: BoundedFolder, name: str) -> None:
        """Plan it; nothing is done yet."""
        self.size = 0
        self._folder = folder
        self._name = name
        self._file: FileIO | None = None
        self._undo = ExitStack()

    def write(self, data: bytes) -> None:
        """Add to it; OSError when there is no room for that."""
        if self._file is None:
            self._file = self._begun()
        self.size += len(data)
        rest = memoryview(data)
        with self._folder.room_for(len(data)):
            while len(rest):
                rest = rest[self._file.write(rest) :]

    def keep(self) -> None:
        """Give it its name: it is found from now on."""
        assert self._file is not None
        self._file.close()
        now = time.time_ns()
        with suppress(FileNotFoundError):  # another process needed the room
            os.utime(self._file.name, ns=(now, now))
            os.replace(self._file.name, self._folder.path / self._name)

    def discard(self) -> None:
        """Be done with it: what was not kept is removed."""
        self._undo.close()

    def _begun(self) -> FileIO:
        # Temporary folders are tidied up by others, too.
        self._folder.path.mkdir(mode=0o700, exist_ok=True)
        descriptor, place = tempfile.mkstemp(dir=self._folder.path, prefix=f"{self._name}.new-")
        os.close(descriptor)
        self._undo.enter_context(self._folder.holding(Path(place).name))
        self._undo.callback(Path(place).unlink, missing_ok=True)
        # Unbuffered, so that what has no room on the disk is told by `write` alone.
        return self._undo.enter_context(open(place, "wb", buffering=0))


@contextmanager
def bounded_folder(path: Path | None, max_bytes: int) -> Iterator[BoundedFolder]:
    """Open a folder, which is made if it is not there; or one that goes with the context; OSError."""
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        yield BoundedFolder(path, max_bytes)
        return
    with tempfile.TemporaryDirectory(prefix="vistok-", ignore_cleanup_errors=True) as temporary:
        yield BoundedFolder(Path(temporary), max_bytes)
