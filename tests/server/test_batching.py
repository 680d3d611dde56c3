from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from vistok_server.batching import take_batch

SQUARE, WIDE = (8, 8), (4, 16)


@dataclass(eq=False)
class Job:
    pixels: int
    key: tuple[int, int]


def test_a_batch_holds_one_shape_and_keeps_the_order_of_the_rest() -> None:
    first, wide, second, tall = Job(4, SQUARE), Job(8, WIDE), Job(4, SQUARE), Job(1, (16, 4))
    waiting = deque([first, wide, second, tall])
    assert take_batch(waiting, max_pixels=100) == [first, second]
    assert list(waiting) == [wide, tall]


def test_a_batch_stops_at_the_budget_of_pixels() -> None:
    jobs = [Job(40, SQUARE) for _ in range(3)]
    waiting = deque(jobs)
    assert take_batch(waiting, max_pixels=100) == jobs[:2]
    assert list(waiting) == jobs[2:]


def test_a_small_job_does_not_overtake_a_large_one_of_its_kind() -> None:
    first, large, small, wide = Job(60, SQUARE), Job(60, SQUARE), Job(1, SQUARE), Job(1, WIDE)
    waiting = deque([first, large, small, wide])
    assert take_batch(waiting, max_pixels=100) == [first]
    assert list(waiting) == [large, small, wide]


def test_a_job_above_the_budget_goes_alone() -> None:
    huge, small = Job(1000, SQUARE), Job(1, SQUARE)
    waiting = deque([huge, small])
    assert take_batch(waiting, max_pixels=100) == [huge]
    assert list(waiting) == [small]


def test_nothing_waiting_gives_an_empty_batch() -> None:
    assert take_batch(deque[Job](), max_pixels=100) == []


@given(
    jobs=st.lists(st.builds(Job, st.integers(1, 120), st.sampled_from([SQUARE, WIDE]))),
    max_pixels=st.integers(1, 100),
)
def test_every_job_leaves_once_in_order_within_its_kind(jobs: list[Job], max_pixels: int) -> None:
    waiting, taken = deque(jobs), []
    while batch := take_batch(waiting, max_pixels):
        assert len({job.key for job in batch}) == 1
        assert len(batch) == 1 or sum(job.pixels for job in batch) <= max_pixels
        taken += batch
    for key in (SQUARE, WIDE):
        assert [job for job in taken if job.key == key] == [job for job in jobs if job.key == key]
    assert not waiting
