"""When a caller who is refused is told to come back."""

from vistok_server.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_follows_from_what_left_lately() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.seconds_for(0) == 1
    assert pace.seconds_for(100) == 60, "nothing leaves"
    for _ in range(5):
        pace.add(20)
        clock.now += 1
    assert pace.seconds_for(100) == 5, "twenty a second"
    assert pace.seconds_for(1) == 1
    assert pace.seconds_for(10**6) == 60
    clock.now += 9
    pace.add(1)
    assert pace.seconds_for(42) == 20, "the last of the twenties nine seconds ago"
    clock.now += 20
    assert pace.seconds_for(1) == 60
