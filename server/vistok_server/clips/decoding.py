"""One clip that is being decoded and written: workers give its frames, and a process encodes them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from vistok.grid_rules import crop
from vistok.media.clips.formats import USUAL_RATE, ClipFormat, OutputFormat
from vistok_protocol.errors import VistokError
from vistok_protocol.npy import npy_header
from vistok_protocol.tokens import TokenGrid
from vistok_server.clips.pieces import ClipTokenizing
from vistok_server.clips.writing import ClipEncoder, clip_writer
from vistok_server.tokenizing import Tokenizing


async def written_clip(
    work: Tokenizing, grid: TokenGrid, output_format: OutputFormat
) -> AsyncGenerator[bytes]:
    """Give the bytes of a grid's clip as they are made; whoever does not take them makes the work wait.

    Raises what workers and `clip_writer` raise, and OVERLOADED where too many clips are being made.
    """
    with work.engine.admit_clip(work.sender):
        written = _array(work, grid) if output_format == "npy" else _encoded(work, grid, output_format)
        async with aclosing(written) as pieces:
            async for piece in pieces:
                yield piece


async def _array(work: Tokenizing, grid: TokenGrid) -> AsyncGenerator[bytes]:
    """Give the frames as they are, `(t h w 3)` uint8 as .npy; no process is needed for that."""
    size = grid.pixels
    # Together with the first frame: what is wrong until then is an answer of its own.
    head = npy_header((size.frames or 1, size.height, size.width, 3), np.dtype(np.uint8))
    async with aclosing(_frames(work, grid)) as frames:
        async for frame in frames:
            yield head + frame.tobytes()
            head = b""


async def _encoded(work: Tokenizing, grid: TokenGrid, clip_format: ClipFormat) -> AsyncGenerator[bytes]:
    size = grid.pixels
    async with clip_writer(clip_format, size.height, size.width, size.rate or USUAL_RATE) as writer:
        writing = asyncio.create_task(_write(_frames(work, grid), writer))
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


async def _write(frames: AsyncGenerator[np.ndarray], writer: ClipEncoder) -> None:
    try:
        async with aclosing(frames):
            async for frame in frames:
                await writer.write(frame)
    finally:
        await writer.finish()


async def _frames(work: Tokenizing, grid: TokenGrid) -> AsyncGenerator[np.ndarray]:
    """Give the frames `(h w 3)` uint8 that a grid shows, as workers give them."""
    async with aclosing(ClipTokenizing(work).decode(grid.ids, grid.pixels.frames or 1)) as pieces:
        async for frames in pieces:
            for frame in frames:
                yield crop(frame, grid.pixels)
