"""The lines of a clip whose grids come one by one: a grid each, and at last the end or an error."""

import json

from vistok_client import _answers
from vistok_protocol.schemas import EncodedGrid
from vistok_protocol.tokens import TokenGrid

# Far above the ids of a few frames of any size.
MOST_BYTES = 2**26


class Lines:
    """Bytes in any pieces, and the grids of their lines, each of which must follow on the one before.

    `warnings` is what the service says of damage to the clip, known at the end.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._bytes = bytearray()
        self._searched = 0
        self._place = 0

    def add(self, piece: bytes) -> None:
        """Take more bytes; ValueError when they are too many for one line, or the last."""
        if not piece:
            raise ValueError("it ends in the middle of the clip")
        self._bytes += piece
        if len(self._bytes) > MOST_BYTES:
            raise ValueError(f"expected lines of at most {MOST_BYTES} bytes")

    def next(self) -> bytes | None:
        """Take out a line; None while it is not complete."""
        end = self._bytes.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._bytes)
            return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        self._searched = 0
        return line

    def read(self, line: bytes) -> TokenGrid | None:
        """Read a line: a grid, or None for the end.

        Raises the error that it tells of, or one of UNREADABLE for what is no such line.
        """
        content = json.loads(line)
        if "error" in content:
            raise _answers.refusal(content["error"])
        if "end" in content:
            self._check_place(content["end"])
            self.warnings = _answers.read_warnings(content["warnings"])
            return None
        self._check_place(content["start"])
        grid = EncodedGrid.model_validate(content).to_grid()
        self._place += grid.shape[0]
        return grid

    def _check_place(self, place: object) -> None:
        if place != self._place:
            raise ValueError(f"expected what follows on latent frame {self._place}, got {place!r:.40}")
