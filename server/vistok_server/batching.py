"""Which waiting jobs make the next batch: rules only, without clock, thread or torch.

Jobs come in flows, one for each caller and tokenizer. Flows share the workers evenly, by pixels, as in
start-time fair queueing (Goyal et al., SIGCOMM 1996): a job's turn is where its flow's earlier jobs end on a
virtual time line, but not before the turn that is being served. So a thousand jobs of one caller queue behind
each other, and the first job of another caller is served next.
"""

from bisect import insort
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Batchable(Protocol):
    """What the rules look at."""

    @property
    def key(self) -> Hashable:
        """Equal for jobs that may share a batch."""

    @property
    def flow(self) -> Hashable:
        """Equal for jobs that share one turn with each other."""

    @property
    def is_bulk(self) -> bool:
        """Whether it lets all others go first."""

    @property
    def pixels(self) -> int:
        """What the job counts for, in a batch and in its flow's share."""


Item = TypeVar("Item", bound=Batchable)


@dataclass(frozen=True, order=True)
class _Place(Generic[Item]):
    """A job and its place in the order of all."""

    is_bulk: bool
    turn: int
    arrival: int
    job: Item = field(compare=False)


class FairQueue(Generic[Item]):
    """Waiting jobs, and the order in which they leave."""

    def __init__(self) -> None:
        self._places: dict[Hashable, list[_Place[Item]]] = {}  # by key, in order
        self._ends: dict[Hashable, int] = {}  # of each flow's last job, on the virtual time line
        self._now = 0
        self._arrivals = 0
        self.pixels = 0
        """Of all jobs together."""

    def __len__(self) -> int:
        """Give the number of jobs."""
        return sum(map(len, self._places.values()))

    @property
    def first(self) -> Item | None:
        """The job whose turn it is."""
        return min(places[0] for places in self._places.values()).job if self._places else None

    def put(self, job: Item) -> None:
        """Add a job at the end of its flow."""
        turn = max(self._now, self._ends.get(job.flow, 0))
        self._ends[job.flow] = turn + job.pixels
        self._insert(job, turn)

    def put_back(self, jobs: Iterable[Item]) -> None:
        """Return jobs that were taken: they are first again."""
        for job in jobs:
            self._insert(job, turn=-1)

    def remove(self, job: Item) -> None:
        """Take a job out; nothing happens when it is not here."""
        places = self._places.get(job.key, [])
        kept = [place for place in places if place.job is not job]
        if len(kept) < len(places):
            self.pixels -= job.pixels
            self._keep(job.key, kept)

    def take(self, max_pixels: int) -> list[Item]:
        """Remove and return the next batch; nothing when no job waits.

        The job whose turn it is always goes, however large. Jobs of its key join it in their order until one
        does not fit: a later, smaller job does not overtake that one.
        """
        if not self._places:
            return []
        key, places = min(self._places.items(), key=lambda entry: entry[1][0])
        count, pixels = 1, places[0].job.pixels
        while count < len(places) and pixels + places[count].job.pixels <= max_pixels:
            pixels += places[count].job.pixels
            count += 1
        self.pixels -= pixels
        self._now = max(self._now, places[0].turn)
        self._keep(key, places[count:])
        return [place.job for place in places[:count]]

    def _insert(self, job: Item, turn: int) -> None:
        self._arrivals += 1
        self.pixels += job.pixels
        insort(self._places.setdefault(job.key, []), _Place(job.is_bulk, turn, self._arrivals, job))

    def _keep(self, key: Hashable, places: list[_Place[Item]]) -> None:
        if places:
            self._places[key] = places
        else:
            self._places.pop(key, None)
        # Flows whose jobs are all served start afresh, and are forgotten.
        if not self._places:
            self._ends.clear()
            self._now = 0
