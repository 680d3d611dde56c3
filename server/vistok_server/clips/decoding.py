"""One clip that is being decoded and written: workers give its frames, and a process encodes them."""

import asyncio
from collections.abc import AsyncGenerator

from vistok.grid_rules import crop
from vistok.media.clips.formats import USUAL_RATE, ClipFormat
from vistok_protocol.errors import VistokError
from vistok_protocol.tokens import TokenGrid
from vistok_server.clips.pieces import ClipTokenizing
from vistok_server.clips.writing import ClipEncoder, clip_writer
from vistok_server.tokenizing import Tokenizing


async def written_clip(work: Tokenizing, grid: TokenGrid, clip_format: ClipFormat) -> AsyncGenerator[bytes]:
    """Give the bytes of a grid's clip as they are made; whoever does not take them makes the work wait.

    Raises what workers and `clip_writer` raise, and OVERLOADED where too many clips are being made.
    """
    size = grid.pixels
    with work.engine.admit_clip(work.sender):
        async with clip_writer(clip_format, size.height, size.width, size.rate or USUAL_RATE) as writer:
            writing = asyncio.create_task(_write(work, grid, writer))
            try:
                async for piece in writer.pieces():
                    yield piece
                await writing
            except VistokError:
                # Where frames were missing, the clip is only the consequence.
                if writing.done():
                    await writing
                raise
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)


async def _write(work: Tokenizing, grid: TokenGrid, writer: ClipEncoder) -> None:
    try:
        async for frames in ClipTokenizing(work).decode(grid.ids, grid.pixels.frames or 1):
            for frame in frames:
                await writer.write(crop(frame, grid.pixels))
    finally:
        await writer.finish()
