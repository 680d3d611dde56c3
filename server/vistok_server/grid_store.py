"""Token grids that are kept under the digests of their bytes."""

import hashlib
import re

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import TokenGrid
from vistok_server.bounded_folder import BoundedFolder

_ID = re.compile(r"[0-9a-f]{64}")


class GridStore:
    """Keeps grids as files; its methods are for threads."""

    def __init__(self, folder: BoundedFolder) -> None:
        self._folder = folder

    def put(self, grid: TokenGrid) -> tuple[str, bool]:
        """Keep a grid; give its id, and whether it is new.

        Raises:
            VistokError: TOO_LARGE; INTERNAL when it cannot be written.
        """
        data = grid.to_bytes()
        if len(data) > self._folder.max_bytes:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"grids of up to {self._folder.max_bytes} bytes are kept, got one of {len(data)}",
            )
        grid_id = _digest(data)
        if self._find(grid_id) is not None:
            return grid_id, False
        try:
            self._folder.write(grid_id, data)
        except OSError as error:
            raise VistokError(ErrorCode.INTERNAL, f"the grid cannot be kept: {error.strerror}") from None
        return grid_id, True

    def get(self, grid_id: str) -> bytes:
        """Give the token bytes of a grid; GRID_NOT_FOUND, also when they are damaged."""
        data = self._find(grid_id) if _ID.fullmatch(grid_id) else None
        if data is None:
            raise VistokError(
                ErrorCode.GRID_NOT_FOUND,
                f"no grid {grid_id[:80]!r} is kept here, or none any more: PUT /v1/grids keeps one",
            )
        return data

    def _find(self, grid_id: str) -> bytes | None:
        data = self._folder.read(grid_id)
        return data if data is not None and _digest(data) == grid_id else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
