"""Clips made once for all who wait for them, and kept."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.bounded_folder import BoundedFolder
from vistok_server.clips.cache import ClipCache

NAME = "0" * 32
Value = TypeVar("Value")


class Film:
    """A clip of ten pieces, each made when it may be; knows how often it was begun and given up."""

    def __init__(self, fails: bool = False) -> None:
        self.begun = self.ended = self.given_up = 0
        self.may_go_on = asyncio.Event()
        self._fails = fails

    async def pieces(self) -> AsyncGenerator[bytes]:
        self.begun += 1
        try:
            yield b"0" * 10
            await self.may_go_on.wait()
            if self._fails:
                raise VistokError(ErrorCode.NOT_READY, "the service stops")
            for number in range(1, 10):
                yield str(number).encode() * 10
            self.ended += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up += 1
            raise


async def off_loop(function: Callable[..., Value], *arguments: object) -> Value:
    """Run on a thread, as the engine does: who leaves while it works waits for it."""
    running = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


@pytest.fixture
def cache(tmp_path: Path) -> ClipCache:
    return ClipCache(BoundedFolder(tmp_path, 1000), off_loop)


def waiter(cache: ClipCache, film: Film, name: str = NAME) -> "asyncio.Task[int]":
    async def wait() -> int:
        steps = 0
        async with aclosing(cache.made(name, film.pieces)) as making:
            async for _ in making:
                steps += 1
        return steps

    return asyncio.create_task(wait())


async def until_begun(film: Film) -> None:
    async with asyncio.timeout(30):
        while not film.begun:
            await asyncio.sleep(0.001)


async def test_a_clip_is_made_once_for_all_who_wait(cache: ClipCache) -> None:
    film = Film()
    assert await cache.find(NAME) is None
    waiters = [waiter(cache, film) for _ in range(5)]
    await until_begun(film)
    waiters += [waiter(cache, film) for _ in range(5)]
    film.may_go_on.set()
    assert min(await asyncio.gather(*waiters)) > 1
    assert (film.begun, film.ended, film.given_up) == (1, 1, 0)
    file = await cache.find(NAME)
    assert file is not None
    assert file.read_bytes() == b"".join(str(number).encode() * 10 for number in range(10))


async def test_who_leaves_spoils_it_for_nobody_else(cache: ClipCache) -> None:
    film = Film()
    first, second = waiter(cache, film), waiter(cache, film)
    await until_begun(film)
    first.cancel()
    await asyncio.wait([first])
    film.may_go_on.set()
    await second
    assert (film.begun, film.ended, film.given_up) == (1, 1, 0)
    assert await cache.find(NAME)


async def test_what_nobody_waits_for_is_given_up_and_begun_anew(cache: ClipCache, tmp_path: Path) -> None:
    film = Film()
    waiters = [waiter(cache, film) for _ in range(3)]
    await until_begun(film)
    for one in waiters:
        one.cancel()
    await asyncio.wait(waiters)
    assert (film.begun, film.ended, film.given_up) == (1, 0, 1)
    assert not list(tmp_path.iterdir())
    film.may_go_on.set()
    await waiter(cache, film)
    assert (film.begun, film.ended) == (2, 1)


async def test_a_failure_is_told_to_all(cache: ClipCache, tmp_path: Path) -> None:
    film = Film(fails=True)
    waiters = [waiter(cache, film) for _ in range(3)]
    film.may_go_on.set()
    for outcome in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(outcome, VistokError)
        assert outcome.code is ErrorCode.NOT_READY
    assert not list(tmp_path.iterdir())


async def test_what_is_larger_than_the_folder_is_not_kept_nor_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ClipCache(BoundedFolder(tmp_path, 95), off_loop)
    film = Film()
    film.may_go_on.set()
    await waiter(cache, film)
    assert "no room" in caplog.text
    assert await cache.find(NAME) is None
    assert not list(tmp_path.iterdir())
    await waiter(cache, film)
    assert film.begun == 1


async def test_what_finds_no_room_now_is_tried_again(tmp_path: Path) -> None:
    cache = ClipCache(BoundedFolder(tmp_path, 150), off_loop)
    other, film = "1" * 32, Film()
    film.may_go_on.set()
    await waiter(cache, film, other)
    with cache.holding(other):
        await waiter(cache, film)
        assert await cache.find(NAME) is None
        assert await cache.find(other)
    await waiter(cache, film)
    assert await cache.find(NAME)
    assert await cache.find(other) is None
