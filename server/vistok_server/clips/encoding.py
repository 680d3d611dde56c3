"""One clip that is being encoded: a process decodes it while it arrives, and workers take its frames."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize
from vistok_server.clips.messages import ClipHead
from vistok_server.clips.pieces import ClipTokenizing, EncodedFrames
from vistok_server.clips.reading import ClipReader, clip_reader
from vistok_server.settings import Settings
from vistok_server.tokenizing import Tokenizing


@dataclass(frozen=True)
class ClipEncoding:
    """What is known of the clip.

    Attributes:
        pieces: its ids, as they are done.
    """

    _head: ClipHead
    _reader: ClipReader
    pieces: AsyncGenerator[EncodedFrames]

    @property
    def frames(self) -> int:
        """The number of frames that have been read."""
        return self._reader.count

    @property
    def warnings(self) -> list[str]:
        """Sentences on what is damaged; known when the pieces have ended."""
        return self._reader.warnings

    def size(self, frames: int) -> PixelSize:
        """Give the size of so many of its frames."""
        return PixelSize(self._head.height, self._head.width, frames, self._head.fps)


@asynccontextmanager
async def clip_encoding(
    work: Tokenizing, body: AsyncGenerator[bytes], selection: Selection, fit: Fit, limits: ClipLimits
) -> AsyncIterator[ClipEncoding]:
    """Begin to encode a clip that arrives as `body`; leaving the context ends all of it.

    Raises what `open_clip` and workers raise, TOO_LARGE for frames larger than the model takes, OVERLOADED
    where too many clips are being read, and what reading the body raises.
    """
    collected = work.engine.settings.max_clip_bytes
    reading = clip_reader(selection, fit, work.tokenizer.factor, limits, collected)
    with work.engine.admit_clip(work.sender):
        async with reading as reader, _fed(reader, body):
            head = await reader.head()
            _check_size(head, work.engine.settings)
            async with aclosing(ClipTokenizing(work).encode(reader.frames())) as pieces:
                yield ClipEncoding(head, reader, pieces)


@asynccontextmanager
async def _fed(reader: ClipReader, body: AsyncGenerator[bytes]) -> AsyncIterator[None]:
    """Feed a reader meanwhile. What is wrong with the body comes before what is wrong with the clip."""
    feeding = asyncio.create_task(reader.feed(body))
    try:
        yield
        await feeding
    except VistokError:
        if feeding.done() and not feeding.cancelled():
            await feeding
        raise
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await body.aclose()


def _check_size(head: ClipHead, settings: Settings) -> None:
    if head.rows * head.columns > settings.max_model_pixels:
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"the model takes frames of up to {settings.max_model_pixels} pixels, got {head.rows} x "
            f"{head.columns} = {head.rows * head.columns}; max_side or size make them smaller",
        )
