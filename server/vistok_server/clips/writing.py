"""Clips written in child processes: frames go in, and encoded bytes come out while they do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np

from vistok.media.clips.formats import ClipFormat
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.clips.messages import WriteRequest
from vistok_server.clips.process import ClipProcess, clip_process


class ClipEncoder:
    """A clip being written in a child of its own; get it from `clip_writer`.

    `write` and then `finish` run in one task, and `pieces` in another: each waits for the other where pipes
    are full or empty.
    """

    def __init__(self, process: ClipProcess, height: int, width: int) -> None:
        self._process = process
        self._shape = height, width, 3

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.process_id

    async def write(self, frame: np.ndarray) -> None:
        """Add a frame: uint8 `(height width 3)` RGB; waits while the child is behind.

        One at a time. When this is cancelled, the clip is lost.

        Raises:
            VistokError: INVALID_SHAPE for any other array; INTERNAL when the child takes no more, of which
                `pieces` tells the cause.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected a uint8 frame of shape {self._shape}, got {frame.dtype} {frame.shape}",
            )
        try:
            await self._process.input.write(np.ascontiguousarray(frame).data.cast("B"))
        except BrokenPipeError:
            raise VistokError(
                ErrorCode.INTERNAL, "the process that writes the clip takes no more frames"
            ) from None

    async def finish(self) -> None:
        """Say that there are no more frames, upon which `pieces` comes to its end."""
        self._process.input.close()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the encoded bytes, once, as they come.

        Raises:
            VistokError: what `ClipWriter` raises, such as INVALID_REQUEST for sizes and rates that the
                format cannot have, or when there was not one frame; INTERNAL when the child was lost.
        """
        while isinstance(piece := await self._process.message(), bytes):
            yield piece


@asynccontextmanager
async def clip_writer(
    clip_format: ClipFormat, height: int, width: int, fps: Fraction
) -> AsyncIterator[ClipEncoder]:
    """Write a clip in a child process, which is gone when the context is left, whatever happens.

    Args:
        clip_format: mp4, webm, gif or webp; see `ClipWriter`.
        height: of the frames.
        width: of the frames.
        fps: frames a second.
    """
    async with clip_process(WriteRequest(clip_format, height, width, fps)) as process:
        yield ClipEncoder(process, height, width)
