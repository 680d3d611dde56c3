"""Clips that are sent while their grids come back: in order, no faster than wanted, and to the end."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.client.conftest import Collect, Serve
from tests.client.line_service import Talk, film, grid_of
from vistok_client import AsyncClient, Client, ClipDamaged, TokenGrid

MEBIBYTE = bytes(2**20)


def until_still(number: Callable[[], int], most: int) -> None:
    """Wait until a number does not change any more; it must not become larger than `most`."""
    before = -1
    while (now := number()) != before:
        assert now <= most
        before = now
        time.sleep(0.2)


def test_each_piece_has_its_grid(serve: Serve, collect: Collect) -> None:
    grids = collect(serve(film), [b"some", b"", bytearray(b"more"), b"last"])
    assert grids == [grid_of(0, 2), grid_of(2, 2), grid_of(4, 2)]
    assert TokenGrid.joined(grids) == grid_of(0, 6)


def test_what_is_sent(serve: Serve, collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(MEBIBYTE)
    service = serve(film)
    headers = {"Authorization": "Bearer secret"}
    collect(service, tmp_path / "film.mp4", headers=headers)
    collect(service, iter([b"x"]), headers=headers)
    file, pieces = service.requests
    assert file.path == pieces.path == "/v1/tokenizers/grey/encode?ids=false"
    assert (file.headers["content-length"], file.headers["content-type"]) == (str(2**20), "video/mp4")
    assert file.headers["authorization"] == "Bearer secret"
    assert file.headers["accept"] == "application/x-ndjson"
    assert file.headers["x-request-id"] != pieces.headers["x-request-id"]
    # The service's patience begins anew with each piece; ours, told, would not.
    assert file.headers["x-timeout-ms"] is None
    assert pieces.headers["transfer-encoding"] == "chunked"
    assert pieces.headers["content-length"] is None


def test_lines_may_come_in_any_pieces(serve: Serve, collect: Collect) -> None:
    def torn(talk: Talk) -> None:
        lines: list[bytes] = []
        talk.begin()
        send, talk.send = talk.send, lines.append
        talk.grid(0)
        talk.grid(1, 3)
        talk.line(end=4, frames=4, warnings=[])
        for byte in b"".join(lines):
            send(bytes([byte]))
        talk.wfile.write(b"0\r\n\r\n")

    assert collect(serve(torn), b"clip") == [grid_of(0), grid_of(1, 3)]


def test_who_does_not_ask_holds_both_directions_back(serve: Serve) -> None:
    sent, answered = count(), count()

    def endless() -> Iterator[bytes]:
        while next(sent) >= 0:
            yield MEBIBYTE

    def eager(talk: Talk) -> None:
        talk.begin()
        for place, _ in enumerate(talk.pieces()):
            talk.grid(place, side=512)
            next(answered)

    service = serve(eager)
    with Client(service.url, video_tokenizer="grey") as client:
        grids = client.stream_video(endless())
        assert next(grids) == grid_of(0, side=512)
        # What lies in between: buffers of the kernel.
        until_still(lambda: int(repr(sent)[6:-1]), most=200)
        assert int(repr(answered)[6:-1]) <= 200
        assert next(grids) == grid_of(1, side=512)
        grids.close()
    assert service.left.acquire(timeout=30)


def test_a_file_is_not_read_ahead(serve: Serve, tmp_path: Path) -> None:
    class Watched:
        """A pipe without an end."""

        read_bytes = 0

        def read(self, size: int) -> bytes:
            self.read_bytes += size
            return bytes(size)

    def lazy(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        talk.rfile.read(100)
        assert gone.wait(30)

    gone = threading.Event()
    file = Watched()
    with Client(serve(lazy).url, video_tokenizer="grey") as client:
        for _ in client.stream_video(file):
            until_still(lambda: file.read_bytes, most=200 * 2**20)
            break
    gone.set()


@pytest.mark.parametrize("way", ["break", "close", "forget", "error"])
def test_who_leaves_ends_the_call(serve: Serve, way: str) -> None:
    def endless(talk: Talk) -> None:
        talk.begin()
        for place in count():
            talk.grid(place)

    service = serve(endless)
    with Client(service.url, video_tokenizer="grey") as client:
        grids = client.stream_video(iter(lambda: MEBIBYTE, None))
        assert next(grids) == grid_of(0)
        if way == "break":
            for _ in grids:
                break
        if way == "error":
            with pytest.raises(KeyError):
                grids.throw(KeyError)
        if way == "close":
            grids.close()
        del grids
        gc.collect()
        assert service.left.acquire(timeout=30)


@pytest.mark.parametrize("way", ["break", "close", "cancel"])
async def test_who_leaves_ends_the_call_in_one_loop(serve: Serve, way: str) -> None:
    def endless(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        for _ in talk.pieces():
            pass

    async def take(client: AsyncClient) -> None:
        async for _ in client.stream_video(iter(lambda: MEBIBYTE, None)):
            came.set()
            if way == "break":
                break

    came = asyncio.Event()

    service = serve(endless)
    async with AsyncClient(service.url, video_tokenizer="grey") as client:
        if way == "close":
            grids = client.stream_video(iter(lambda: MEBIBYTE, None))
            await anext(grids)
            await grids.aclose()
        else:
            task = asyncio.create_task(take(client))
            await came.wait()
            if way == "cancel":
                task.cancel()
            await asyncio.wait([task])
        assert await asyncio.to_thread(service.left.acquire, timeout=30)


def test_a_clip_that_does_not_come_keeps_nobody(serve: Serve) -> None:
    comes = threading.Event()

    def camera() -> Iterator[bytes]:
        yield b"a frame"
        comes.wait()

    with Client(serve(film).url, video_tokenizer="grey") as client:
        for _ in client.stream_video(camera()):
            break
    comes.set()


def test_a_service_that_reads_no_more_keeps_nobody(serve: Serve) -> None:
    def deaf(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        assert gone.wait(30)

    gone = threading.Event()
    with Client(serve(deaf).url, video_tokenizer="grey") as client:
        for _ in client.stream_video(iter(lambda: MEBIBYTE, None)):
            break
    gone.set()


def test_a_clip_that_is_answered_before_its_end_is_not_sent_to_its_end(
    serve: Serve, collect: Collect
) -> None:
    def first_only(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        talk.end(1)
        # Closed before it is read, a connection is reset, and an answer that is on its way may be lost.
        for _ in talk.pieces():
            pass

    assert collect(serve(first_only), iter(lambda: MEBIBYTE, None)) == [grid_of(0)]


def test_damage_is_a_warning_at_the_end(serve: Serve, collect: Collect) -> None:
    def damaged(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        talk.end(1, "frame 3 is grey", "frame 4 too")

    with pytest.warns(ClipDamaged) as told:
        assert collect(serve(damaged), b"clip") == [grid_of(0)]
    assert [str(warning.message) for warning in told] == ["frame 3 is grey", "frame 4 too"]
    # Where the loop is.
    assert Path(told[0].filename).name == "conftest.py"


def test_a_proxy_of_the_environment_is_used(
    serve: Serve, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(film)
    monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Elsewhere:
        url = "http://vistok.test"

    assert collect(Elsewhere, b"clip") == [grid_of(0, 2)]
    assert proxy.requests[0].path.startswith("http://vistok.test/v1/tokenizers/grey/encode")
    direct = serve(film)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert collect(direct, b"clip") == [grid_of(0, 2)]
    assert len(proxy.requests) == 1
