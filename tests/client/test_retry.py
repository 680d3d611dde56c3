"""Trying again: what is repeated, how long is waited, and that it ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import numpy as np
import pytest

from tests.client.service import INFO, Service, problem
from vistok_client import Client, ConnectionFailed, Overloaded, TokenizerError, Unavailable
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode

Connect = Callable[..., Client]

PASSING: dict[str, Callable[[], httpx.Response | Exception]] = {
    "overloaded": lambda: problem(ErrorCode.OVERLOADED),
    "not ready": lambda: problem(ErrorCode.NOT_READY),
    "refused connection": lambda: httpx.ConnectError("refused"),
    "slow connection": lambda: httpx.ConnectTimeout("slow"),
    "cut connection": lambda: httpx.ReadError("cut"),
    "half an answer": lambda: httpx.RemoteProtocolError("half"),
}
LASTING: dict[str, Callable[[], httpx.Response | Exception]] = {
    "invalid request": lambda: problem(ErrorCode.INVALID_REQUEST),
    "a bug": lambda: problem(ErrorCode.INTERNAL),
    "timed out there": lambda: problem(ErrorCode.TIMED_OUT),
    "timed out here": lambda: httpx.ReadTimeout("slow"),
    "a proxy's error": lambda: httpx.Response(502),
}


@pytest.mark.parametrize("outcome", PASSING.values(), ids=PASSING.keys())
def test_what_will_pass_is_tried_again(
    connect: Connect, waits: list[float], outcome: Callable[[], httpx.Response | Exception]
) -> None:
    service = Service(outcome(), outcome())
    assert connect(service).tokenizers() == [INFO]
    assert len(service.requests) == 3
    assert len({request.headers[media_types.REQUEST_ID] for request in service.requests}) == 1
    assert 0.125 <= waits[0] <= 0.25 <= 2 * waits[1] <= 1


@pytest.mark.parametrize("outcome", LASTING.values(), ids=LASTING.keys())
def test_what_will_not_pass_is_not_tried_again(
    connect: Connect, waits: list[float], outcome: Callable[[], httpx.Response | Exception]
) -> None:
    service = Service(outcome())
    with pytest.raises(TokenizerError):
        connect(service).tokenizers()
    assert len(service.requests) == 1
    assert waits == []


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_trying_ends(connect: Connect, waits: list[float], retries: int) -> None:
    service = Service(*(problem(ErrorCode.OVERLOADED, Retry_After="1") for _ in range(100)))
    with pytest.raises(Overloaded) as caught:
        connect(service, retries=retries).tokenizers()
    assert caught.value.retry_after == 1.0
    assert len(service.requests) == retries + 1
    assert len(waits) == retries


def test_a_dead_service_is_given_up(connect: Connect, waits: list[float]) -> None:
    service = Service(*(httpx.ConnectError("refused") for _ in range(100)))
    with pytest.raises(ConnectionFailed):
        connect(service).tokenizers()
    assert len(service.requests) == 6
    assert max(waits) <= 8.0


def test_at_least_as_long_as_asked_is_waited(connect: Connect, waits: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    values = ["7", date, past, "soon", ""]
    connect(Service(*(problem(ErrorCode.NOT_READY, Retry_After=value) for value in values))).tokenizers()
    assert waits[0] == 7.0
    assert 20.0 < waits[1] <= 30.0
    assert all(wait <= 4.0 for wait in waits[2:])


def test_a_service_that_asks_for_too_much_is_not_waited_for(connect: Connect, waits: list[float]) -> None:
    with pytest.raises(Unavailable) as caught:
        connect(Service(problem(ErrorCode.NOT_READY, Retry_After="3600"))).tokenizers()
    assert caught.value.retry_after == 3600.0
    assert waits == []


def test_what_was_sent_is_sent_again_whole(connect: Connect, waits: list[float], picture: np.ndarray) -> None:
    service = Service(problem(ErrorCode.OVERLOADED), httpx.ReadError("cut"))
    client = connect(service)
    assert client.encode(picture).ids[0, 0] == 77
    assert len({request.content for request in service.requests}) == 1
    service.script = [problem(ErrorCode.OVERLOADED)]
    assert [type(grid).__name__ for grid in client.encode([picture, picture])] == ["TokenGrid"] * 2
