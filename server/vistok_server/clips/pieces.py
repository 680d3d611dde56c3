"""A clip's orders: its pieces one after the other, each with what the one before left behind.

The next frames are fetched while a worker is busy with those before them, and no further: whoever gives
frames waits for the workers, and whoever takes ids makes them wait.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import numpy as np

from vistok_server.orders import DecodedPiece, DecodePiece, EncodedPiece, EncodePiece
from vistok_server.tokenizing import Tokenizing

# Latent frames of a piece, after the first one, which goes alone: so many share the way to a worker and back.
_LATENTS = 4

Piece = tuple[np.ndarray, bool]
"""Frames `(t H W 3)`, and whether the clip has ended with them, within a group."""


@dataclass(frozen=True)
class EncodedFrames:
    """The ids `(t h w [k])` of a piece, and the number of frames that they stand for."""

    ids: np.ndarray
    frames: int


@dataclass(frozen=True)
class ClipTokenizing:
    """Gives the orders of one clip at a time."""

    work: Tokenizing

    async def encode(self, frames: AsyncIterator[np.ndarray]) -> AsyncGenerator[EncodedFrames]:
        """Give the ids of fitted frames, uint8 `(H W 3)`, as pieces of the clip are done."""
        past: list[np.ndarray] = []
        size = _LATENTS * self.work.tokenizer.temporal_factor
        async with aclosing(_ahead(_grouped(frames, size))) as pieces:
            async for piece, is_last in pieces:
                order = EncodePiece(past, piece, is_last)
                done = await self.work.done(EncodedPiece, order, piece.shape[:3])
                past = done.past
                self.work.engine.metrics.vocabulary.add(self.work.tokenizer, done.ids)
                yield EncodedFrames(done.ids, len(piece))

    async def decode(self, ids: np.ndarray, frames: int) -> AsyncGenerator[np.ndarray]:
        """Give the frames `(t H W 3)` uint8 of ids `(t h w [k])` that were checked, as pieces are done.

        `H W` are the grid's, with the padding; `frames` are all that there are.
        """
        past: list[np.ndarray] = []
        factor, rate = self.work.tokenizer.factor, self.work.tokenizer.temporal_factor
        for piece in np.split(ids, range(1, len(ids), _LATENTS)):
            count = len(piece) * rate if past else 1
            shape = count, piece.shape[1] * factor, piece.shape[2] * factor
            done = await self.work.done(DecodedPiece, DecodePiece(past, piece), shape)
            past = done.past
            yield done.frames[:frames]
            frames -= len(done.frames)


async def _grouped(frames: AsyncIterator[np.ndarray], size: int) -> AsyncGenerator[Piece]:
    """Give the first frame alone, then `size` at a time."""
    waiting: list[np.ndarray] = []
    wanted = 1
    async for frame in frames:
        waiting.append(frame)
        if len(waiting) == wanted:
            yield np.stack(waiting), False
            waiting, wanted = [], size
    if waiting:
        yield np.stack(waiting), True


async def _ahead(pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
    """Fetch the next one while the one before is used."""
    fetching = asyncio.ensure_future(anext(pieces, None))
    try:
        while (piece := await fetching) is not None:
            fetching = asyncio.ensure_future(anext(pieces, None))
            yield piece
    finally:
        fetching.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await fetching
        await pieces.aclose()
