"""How a codebook follows the data (van den Oord et al., arXiv:1711.00937).

It starts from k-means on the first training batch, moves each code towards the mean of the vectors that
chose it, `e = s / n` by moving averages of their sum and number, and replaces codes that nobody chooses.
Under a process group the ranks add up what they counted and draw from all of their vectors, so that they
keep one codebook.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vistok.quantizers import processes
from vistok.quantizers.vector.codebook import AffineCodebook, Codebook
from vistok.quantizers.vector.kmeans import counts_and_sums, draw, kmeans

UpdateWeight = Tensor | Callable[[Tensor, Tensor], Tensor]
"""A factor on each code's step, `(k)` or `(g k)`, or what gives it from sums `(g k d)` and counts `(g k)`."""


@dataclass
class Learning:
    """What training does to a codebook, batch by batch.

    Attributes:
        decay: of the moving averages, per batch.
        eps: smoothing of the counts (Laplace), so that no division is by zero.
        kmeans_iters: rounds of k-means at the start.
        dead_below: codes whose averaged count falls below it are replaced by vectors; 0: none are.
        moves: codes follow the averages; otherwise counts are kept alone, and alone for replacing dead codes.
        by_hand: the averages are kept, but codes move when `refresh` is called.
        synchronize: share counts and draws among ranks; None: whenever there is a process group.
        synchronize_kmeans: the same, for the start.
    """

    decay: float
    eps: float
    kmeans_iters: int
    dead_below: float
    moves: bool
    by_hand: bool
    synchronize: bool | None
    synchronize_kmeans: bool
    _held_back: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @torch.no_grad()
    def start(self, book: Codebook, vectors: Tensor) -> None:
        """Place the codes by k-means on prepared vectors `(g m d)`, unless they have their places."""
        if book.initted:
            return
        together = self._synchronizes() and self.synchronize_kmeans
        for table, of_table in enumerate(vectors):
            first = _filled_up(draw(of_table, book.size, together), book.size)
            sum_up = processes.sum_over_ranks if together else _leave
            centres, counts = kmeans(of_table, first, self.kmeans_iters, book.prepare, sum_up)
            book.embed.data[table] = centres
            # A centre without vectors counts as one, so that it stays where it is.
            book.cluster_size[table] = counts.clamp(min=1)
            book.embed_avg[table] = centres * book.cluster_size[table][:, None]
        book.initted.fill_(True)

    @torch.no_grad()
    def follow(
        self,
        book: Codebook,
        vectors: Tensor,
        ids: Tensor,
        *,
        moves: bool | None = None,
        weight: UpdateWeight | None = None,
        hold_back: bool = False,
    ) -> None:
        """Take in prepared vectors `(g m d)` and the ids `(g m)` that they chose.

        Args:
            moves: overrides the attribute for this batch.
            weight: a factor on each code's step.
            hold_back: keep counts and sums for the next call without it, as gradients are accumulated.
        """
        moves = self.moves if moves is None else moves
        if not moves and not self.dead_below:
            return
        if isinstance(book, AffineCodebook):
            vectors = book.from_data_to_codes(vectors)
        counts, sums = self._count(book, vectors, ids)
        if hold_back:
            self._held_back.append((counts, sums))
            return
        for held_counts, held_sums in self._held_back:
            counts, sums = counts + held_counts, sums + held_sums
        self._held_back.clear()
        self._average(book, counts, sums, weight)
        if moves and not self.by_hand:
            self.refresh(book)
        self.replace_dead_codes(book, vectors)

    @torch.no_grad()
    def refresh(self, book: Codebook) -> None:
        """Move the codes to what the averages say."""
        counts = book.cluster_size
        total = counts.sum(dim=-1, keepdim=True)
        smoothed = (counts + self.eps) / (total + book.size * self.eps) * total
        book.embed.data.copy_(book.prepare(book.embed_avg / smoothed[..., None]))

    @torch.no_grad()
    def replace_dead_codes(self, book: Codebook, vectors: Tensor) -> None:
        """Put codes that too few vectors chose onto vectors of the batch, prepared, `(g m d)`."""
        dead = book.cluster_size < self.dead_below
        if not self.dead_below or not dead.any():
            return
        for table, of_table in enumerate(vectors):
            places = dead[table].nonzero()[:, 0]
            fresh = draw(of_table, len(places), self._synchronizes())
            # With fewer vectors than dead codes the rest waits: twice the same code would help nobody.
            places = places[: len(fresh)]
            book.embed.data[table, places] = fresh.to(book.embed.dtype)
            # A new code starts with the threshold as its count, so that it is given time to be chosen.
            book.cluster_size[table, places] = self.dead_below
            book.embed_avg[table, places] = fresh.to(book.embed_avg.dtype) * self.dead_below

    def mean_over_ranks(self, values: Tensor) -> Tensor:
        """Give the average over ranks where codebooks are synchronized."""
        return processes.mean_over_ranks(values) if self._synchronizes() else values

    def _synchronizes(self) -> bool:
        return self.synchronize is not False and processes.world_size() > 1

    def _count(self, book: Codebook, vectors: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        counted = [counts_and_sums(*each, book.size) for each in zip(vectors, ids, strict=True)]
        counts, sums = (torch.stack(each) for each in zip(*counted, strict=True))
        if self._synchronizes():
            processes.sum_over_ranks(counts)
            processes.sum_over_ranks(sums)
        return counts, sums

    def _average(self, book: Codebook, counts: Tensor, sums: Tensor, weight: UpdateWeight | None) -> None:
        factor = weight(sums, counts) if callable(weight) else weight
        step = torch.full_like(counts, 1 - self.decay)
        if factor is not None:
            step = step * factor
        book.cluster_size.lerp_(counts, step)
        book.embed_avg.lerp_(sums, step[..., None])


def _filled_up(vectors: Tensor, count: int) -> Tensor:
    """Repeat vectors `(m d)` at random up to `count` rows."""
    missing = count - len(vectors)
    if missing <= 0:
        return vectors
    return torch.cat([vectors, vectors[torch.randint(len(vectors), (missing,), device=vectors.device)]])


def _leave(values: Tensor) -> None:
    """Sum over this rank alone."""
