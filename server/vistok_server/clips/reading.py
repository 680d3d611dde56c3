"""Clips read in child processes: bytes go in while they arrive, and frames come out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np

from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit
from vistok_server.clips.messages import ClipHead, Ended, ReadRequest
from vistok_server.clips.process import ClipProcess, clip_process


class ClipReader:
    """A clip being read in a child of its own; get it from `clip_reader`.

    `feed` runs in one task, `head` and then `frames` in another.

    Attributes:
        warnings: sentences on what is damaged; known when the frames have ended.
        count: frames that were given.
    """

    def __init__(self, process: ClipProcess) -> None:
        self.warnings: list[str] = []
        self.count = 0
        self._process = process
        self._head: ClipHead | None = None

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.process_id

    async def feed(self, pieces: AsyncIterator[bytes]) -> None:
        """Give the child its clip, as fast as it takes it, and then the end.

        Returns when the pieces end, and as soon as the child wants no more: it has what was selected, or
        failed, or the context is left. Raises what `pieces` raises; then, too, the child reads an end.
        """
        pump = asyncio.create_task(self._pump(pieces))
        try:
            await asyncio.wait({pump, self._process.input.unwanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Pieces may keep us waiting long after the child has ended.
            pump.cancel()
            (outcome,) = await asyncio.gather(pump, return_exceptions=True)
            self._process.input.close()
        if isinstance(outcome, Exception):
            raise outcome

    async def head(self) -> ClipHead:
        """Wait for the first frame, and tell what is known with it.

        Raises:
            VistokError: what `open_clip` raises; UNREADABLE_MEDIA when the clip ends its child.
        """
        if self._head is None:
            head = await self._process.message()
            if not isinstance(head, ClipHead):
                raise await self._process.lost()
            self._head = head
        return self._head

    async def frames(self) -> AsyncIterator[np.ndarray]:
        """Give the frames, once: uint8 `(rows columns 3)`, each an array of its own.

        Each is received when it is asked for; until then the child, and the pipe, hold it.

        Raises:
            VistokError: as for `head`, also in the middle: TOO_LARGE as soon as a limit is passed.
        """
        head = await self.head()
        while True:
            frame = np.empty((head.rows, head.columns, 3), np.uint8)
            message = await self._process.message(frame.data.cast("B"))
            if isinstance(message, Ended):
                self.warnings += message.warnings
                return
            if message is not None:
                raise await self._process.lost()
            self.count += 1
            yield frame
            # A child that is always ahead must not keep others, or a cancellation, waiting.
            await asyncio.sleep(0)

    async def _pump(self, pieces: AsyncIterator[bytes]) -> None:
        with suppress(BrokenPipeError):
            async for piece in pieces:
                await self._process.input.write(piece)


@asynccontextmanager
async def clip_reader(
    selection: Selection, fit: Fit, factor: int, limits: ClipLimits, max_collected: int
) -> AsyncIterator[ClipReader]:
    """Read a clip in a child process, which is gone when the context is left, whatever happens.

    Args:
        selection: what of the clip is read; its `max_side` is what shrinks the frames.
        fit: how a frame then comes to sides that are multiples of the factor.
        factor: of the tokenizer.
        limits: what the clip may cost.
        max_collected: bytes that are kept on disk of a clip that cannot be read before it has come whole.
    """
    async with clip_process(ReadRequest(selection, fit, factor, limits, max_collected)) as process:
        yield ClipReader(process)
