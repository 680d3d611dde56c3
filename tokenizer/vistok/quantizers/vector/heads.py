"""Several heads in one vector: each chooses a code of its own, from one table or from a table each."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Heads:
    """How latents `(b n (heads d))` become vectors for tables, `(g m d)`, and back.

    Attributes:
        count: heads.
        separate: a table for each head, `g = heads, m = b n`; otherwise one for all, `g = 1, m = b n heads`.
    """

    count: int
    separate: bool

    @property
    def tables(self) -> int:
        """Number of tables `g`."""
        return self.count if self.separate else 1

    def split(self, latents: Tensor) -> Tensor:
        """Give latents `(b n (heads d))` as vectors `(g m d)`."""
        if self.count == 1:
            return latents.flatten(0, 1).unsqueeze(0)
        vectors = latents.flatten(0, 1).unflatten(-1, (self.count, -1))
        return vectors.transpose(0, 1) if self.separate else vectors.flatten(0, 1).unsqueeze(0)

    def join(self, vectors: Tensor, batch: int) -> Tensor:
        """Give vectors `(g m d)` as latents `(b n (heads d))`."""
        if self.count == 1:
            return vectors.unflatten(1, (batch, -1)).squeeze(0)
        rows = vectors.transpose(0, 1) if self.separate else vectors.squeeze(0).unflatten(0, (-1, self.count))
        return rows.flatten(1).unflatten(0, (batch, -1))

    def split_ids(self, ids: Tensor) -> Tensor:
        """Give ids `(b n [heads])`, or anything per head, as `(g m)`."""
        if self.count == 1:
            return ids.flatten().unsqueeze(0)
        return ids.flatten(0, 1).T if self.separate else ids.flatten().unsqueeze(0)

    def join_ids(self, ids: Tensor, batch: int) -> Tensor:
        """Give ids `(g m)` as `(b n [heads])`."""
        if self.count == 1:
            return ids.unflatten(1, (batch, -1)).squeeze(0)
        rows = ids.T if self.separate else ids.squeeze(0).unflatten(0, (-1, self.count))
        return rows.unflatten(0, (batch, -1))

    def per_vector(self, mask: Tensor) -> Tensor:
        """Give a mask of tokens `(b n)` as one of vectors `(m)`, the same for all tables."""
        flat = mask.flatten()
        return flat if self.separate else flat.repeat_interleave(self.count)
