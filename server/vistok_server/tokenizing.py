"""The work of one caller on one tokenizer, as orders for the workers."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vistok.grid_rules import make_grid
from vistok.media.fitting import Fit
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import TokenGrid
from vistok_server.engine import Engine
from vistok_server.jobs import Sender
from vistok_server.orders import (
    Computed,
    Decode,
    DecodedPiece,
    Encode,
    Encoded,
    EncodedPiece,
    Lookup,
    Order,
    Quantize,
    Reconstruct,
    Reconstructed,
    Written,
)
from vistok_server.parts import Part
from vistok_server.sizes import Expected, expect

Answer = TypeVar("Answer", Encoded, Written, Reconstructed, EncodedPiece, DecodedPiece, Computed)


@dataclass(frozen=True)
class Tokenizing:
    """Gives orders, and makes of their results what routes answer with."""

    engine: Engine
    sender: Sender
    tokenizer: TokenizerInfo

    async def encode(self, part: Part, fit: Fit) -> TokenGrid:
        """Give the grid of a picture."""
        order = Encode(_array_of(part), part.media_type, fit)
        expected = self._expect(part, fit)
        encoded = await self.done(Encoded, order, expected.shape, expected.pixels)
        self.engine.metrics.vocabulary.add(self.tokenizer, encoded.ids)
        return make_grid(self.tokenizer, encoded.ids, encoded.size)

    async def decode(self, grid: TokenGrid, answer_type: str) -> bytes:
        """Give the picture of a grid that was checked, written as this media type."""
        shape = tuple(side * self.tokenizer.factor for side in grid.shape)
        written = await self.done(Written, Decode(grid.ids, grid.pixels, answer_type), shape)
        return written.content.tobytes()

    async def reconstruct(self, part: Part, fit: Fit, answer_type: str) -> Reconstructed:
        """Give a picture after a round trip, written as this media type."""
        order = Reconstruct(_array_of(part), part.media_type, fit, answer_type)
        expected = self._expect(part, fit)
        return await self.done(Reconstructed, order, expected.shape, expected.pixels)

    async def quantize(self, features: np.ndarray) -> np.ndarray:
        """Give the ids `(b [t] h w [k])` of feature maps `(b d [t] h w)`."""
        shape = self._pixels_of(features.shape[0], *features.shape[2:])
        return (await self.done(Computed, Quantize(features), shape)).values

    async def look_up(self, ids: np.ndarray) -> np.ndarray:
        """Give the codes `(b d [t] h w)` of ids `(b [t] h w [k])` that were checked."""
        shape = self._pixels_of(*(ids.shape[:-1] if self.tokenizer.codebooks > 1 else ids.shape))
        return (await self.done(Computed, Lookup(ids), shape)).values

    def _pixels_of(self, *positions: int) -> tuple[int, ...]:
        """Give the shape of the pixels that positions `(b [t] h w)` stand for, but for what time adds."""
        *others, rows, columns = positions
        return (*others, rows * self.tokenizer.factor, columns * self.tokenizer.factor)

    def _expect(self, part: Part, fit: Fit) -> Expected:
        return expect(part, fit, self.tokenizer.factor, self.engine.settings)

    async def done(
        self, kind: type[Answer], order: Order, shape: tuple[int, ...], pixels: int | None = None
    ) -> Answer:
        """Have an order done whose pixels have this shape; `pixels` is what it costs, if that is more."""
        pixels = math.prod(shape) if pixels is None else pixels
        done = await self.engine.run(self.sender, self.tokenizer.name, order, shape, pixels)
        assert isinstance(done, kind)
        return done


def _array_of(part: Part) -> np.ndarray:
    return np.frombuffer(part.data, np.uint8)
