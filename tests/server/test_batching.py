"""The rules by which waiting jobs become batches."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from vistok_server.batching import FairQueue

SQUARE, WIDE = (8, 8), (4, 16)


@dataclass(eq=False)
class Job:
    pixels: int
    key: tuple[int, int]
    flow: str = "a"
    is_bulk: bool = False


def queue_of(jobs: list[Job]) -> FairQueue[Job]:
    queue = FairQueue[Job]()
    for job in jobs:
        queue.put(job)
    return queue


def batches(queue: FairQueue[Job], max_pixels: int = 100) -> list[list[Job]]:
    taken = []
    while batch := queue.take(max_pixels):
        taken.append(batch)
    return taken


def test_a_batch_holds_one_shape_and_keeps_the_order_of_the_rest() -> None:
    first, wide, second, tall = Job(4, SQUARE), Job(8, WIDE), Job(4, SQUARE), Job(1, (16, 4))
    assert batches(queue_of([first, wide, second, tall])) == [[first, second], [wide], [tall]]


def test_a_batch_stops_at_the_budget_of_pixels() -> None:
    jobs = [Job(40, SQUARE) for _ in range(3)]
    assert batches(queue_of(jobs)) == [jobs[:2], jobs[2:]]


def test_a_small_job_does_not_overtake_a_large_one_of_its_kind() -> None:
    first, large, small, wide = Job(60, SQUARE), Job(60, SQUARE), Job(1, SQUARE), Job(1, WIDE)
    assert batches(queue_of([first, large, small, wide])) == [[first], [large, small], [wide]]


def test_a_job_above_the_budget_goes_alone() -> None:
    huge, small = Job(1000, SQUARE), Job(1, SQUARE)
    assert batches(queue_of([huge, small])) == [[huge], [small]]


def test_one_callers_thousand_do_not_starve_anothers_one() -> None:
    many = [Job(10, SQUARE, flow="many") for _ in range(1000)]
    queue = queue_of(many)
    assert queue.take(100) == many[:10]
    one = Job(10, WIDE, flow="one")
    queue.put(one)
    assert queue.take(100) == [one]
    assert queue.take(100) == many[10:20]


def test_two_callers_of_one_shape_share_each_batch() -> None:
    jobs = [Job(10, SQUARE, flow=flow) for flow in "a" * 50 + "b" * 5]
    (first, *_) = batches(queue_of(jobs))
    assert Counter(job.flow for job in first) == {"a": 5, "b": 5}


def test_shares_are_of_pixels_not_of_jobs() -> None:
    large = [Job(40, SQUARE, flow="large") for _ in range(10)]
    small = [Job(10, WIDE, flow="small") for _ in range(40)]
    order = batches(queue_of(large + small), max_pixels=40)
    halfway = [job for batch in order[:10] for job in batch]
    pixels = Counter({flow: sum(j.pixels for j in halfway if j.flow == flow) for flow in ("large", "small")})
    assert pixels == {"large": 200, "small": 200}


def test_bulk_work_waits_for_all_other_work() -> None:
    bulk = [Job(10, SQUARE, flow="b", is_bulk=True) for _ in range(3)]
    queue = queue_of(bulk)
    online = Job(10, WIDE)
    queue.put(online)
    assert batches(queue) == [[online], bulk]


def test_what_is_put_back_is_first_and_what_is_removed_is_gone() -> None:
    jobs = [Job(10, SQUARE) for _ in range(4)]
    queue = queue_of(jobs)
    taken = queue.take(20)
    queue.put_back(taken)
    queue.remove(jobs[2])
    queue.remove(jobs[2])
    assert len(queue) == 3
    assert batches(queue, 20) == [jobs[:2], [jobs[3]]]


def test_nothing_waiting_gives_an_empty_batch() -> None:
    assert FairQueue[Job]().take(max_pixels=100) == []


@given(
    jobs=st.lists(
        st.builds(
            Job, st.integers(1, 120), st.sampled_from([SQUARE, WIDE]), st.sampled_from("abc"), st.booleans()
        )
    ),
    max_pixels=st.integers(1, 100),
)
def test_every_job_leaves_once_in_order_within_its_kind_and_flow(jobs: list[Job], max_pixels: int) -> None:
    order = batches(queue_of(jobs), max_pixels)
    for batch in order:
        assert len({job.key for job in batch}) == 1
        assert len(batch) == 1 or sum(job.pixels for job in batch) <= max_pixels
    taken = [job for batch in order for job in batch]
    assert Counter(map(id, taken)) == Counter(map(id, jobs))

    def line(of: list[Job], like: Job) -> list[Job]:
        mark = (like.key, like.flow, like.is_bulk)
        return [job for job in of if (job.key, job.flow, job.is_bulk) == mark]

    for job in jobs:
        assert line(taken, job) == line(jobs, job)
