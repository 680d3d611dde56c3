"""How long a service is waited for, on a clock that goes as the tests say."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from vistok_client._patience import Patience

Pass = Callable[[float], Coroutine[None, None, None]]


@pytest.fixture
async def let_pass(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pass]:
    """Give a function that lets time pass, and what waits for it happen."""
    loop = asyncio.get_running_loop()
    now = loop.time()

    async def let_pass(seconds: float) -> None:
        nonlocal now
        now += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: now)
        yield let_pass


async def begun(patience: Patience) -> "asyncio.Task[bool]":
    waiting = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    return waiting


async def test_it_ends_when_nothing_moves(let_pass: Pass) -> None:
    waiting = await begun(Patience(60))
    await let_pass(59)
    assert not waiting.done()
    await let_pass(2)
    assert isinstance(waiting.exception(), TimeoutError)


async def test_it_begins_anew_with_whatever_moves(let_pass: Pass) -> None:
    patience = Patience(60)
    waiting = await begun(patience)
    for _ in range(5):
        await let_pass(59)
        patience.renew()
    assert not waiting.done()
    await let_pass(61)
    assert isinstance(waiting.exception(), TimeoutError)
    patience.renew()


async def test_it_stands_still_while_something_else_is_waited_for(let_pass: Pass) -> None:
    patience = Patience(60)
    patience.pause()
    waiting = await begun(patience)
    await let_pass(1000)
    assert not waiting.done()
    patience.renew()
    await let_pass(61)
    assert isinstance(waiting.exception(), TimeoutError)


async def test_when_it_is_lost_nothing_is_waited_for(let_pass: Pass) -> None:
    patience = Patience(60)
    waiting = await begun(patience)
    patience.lose()
    await let_pass(0)
    assert isinstance(waiting.exception(), TimeoutError)
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait())


async def test_it_may_have_no_end(let_pass: Pass) -> None:
    patience = Patience(None)
    waiting = await begun(patience)
    patience.renew()
    await let_pass(10**6)
    assert not waiting.done()
    waiting.cancel()


async def test_what_is_there_is_had(let_pass: Pass) -> None:
    patience = Patience(60)
    patience.lose()
    there = asyncio.get_running_loop().create_future()
    there.set_result("a line")
    assert await patience.wait(there) == "a line"
