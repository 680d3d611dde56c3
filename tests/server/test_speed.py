"""What a worker is thought to take over a batch."""

from vistok_server.speed import Speed


def test_nothing_is_expected_of_a_worker_that_has_done_nothing() -> None:
    assert Speed().seconds_for(10**9) == 0


def test_the_last_batches_count_most() -> None:
    speed = Speed()
    for seconds in (1.0,) * 20 + (3.0,) * 20:
        speed.learn(100, seconds)
    assert 2.9 < speed.seconds_for(100) < 3.0


def test_small_batches_take_less_and_large_ones_are_not_feared() -> None:
    speed = Speed()
    speed.learn(1000, 1.0)
    assert speed.seconds_for(10) == 0.01
    assert speed.seconds_for(10**6) == 1.0
