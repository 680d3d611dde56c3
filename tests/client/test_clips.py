"""Clips in one call each: what goes out, what comes back, and in how much memory."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.client.service import Service, clip_grid, grid_of, make_grid, problem
from vistok_client import (
    AsyncClient,
    Client,
    ClipDamaged,
    ConnectionFailed,
    InvalidInput,
    Overloaded,
    PixelSize,
    TokenGrid,
    UnreadableAnswer,
)
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode
from vistok_protocol.npy import write_npy

Connect = Callable[..., Client]
LARGE = 2**26
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 20, 13, 3), dtype=np.uint8)
GRID = clip_grid(np.arange(5 * 3 * 2).reshape(5, 3, 2), PIXELS.shape)


def good() -> httpx.Response:
    return httpx.Response(200, content=GRID.to_bytes())


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_becomes_a_grid_and_an_array_again(connect: Connect, order: Any) -> None:
    service = Service()
    client = connect(service)
    grid = client.encode_video(np.asarray(PIXELS, order=order))
    assert service.last.content == write_npy(PIXELS)
    assert service.last.headers["content-length"] == str(len(write_npy(PIXELS)))
    assert grid == grid_of(write_npy(PIXELS), media_types.NPY)
    flat = np.full((2, 8, 8, 3), 9, np.uint8)
    assert np.array_equal(client.decode(client.encode_video(flat), output="numpy"), flat)


async def test_the_asynchronous_client_does_the_same(tmp_path: Path, waits: list[float]) -> None:
    service = Service()
    async with AsyncClient("http://test", video_tokenizer="grey", transport=service.transport) as client:
        grid = await client.encode_video(PIXELS)
        assert await client.encode_video(io.BytesIO(write_npy(PIXELS))) == grid
        await client.decode_video(grid, tmp_path / "a.mp4")
        assert TokenGrid.load(tmp_path / "a.mp4") == grid
        assert await client.get_grid(await client.put_grid(grid)) == grid
        with pytest.raises(InvalidInput):
            await client.decode(grid)
        service.script = [httpx.ReadError("cut")] * 9
        with pytest.raises(ConnectionFailed):
            await client.decode_video(grid, tmp_path / "a.mp4", any_fingerprint=True)
    assert TokenGrid.load(tmp_path / "a.mp4") == grid


def test_files_are_sent_as_they_are_with_their_type_and_length(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"something")
    with path.open("rb") as file:
        for given, media_type in [
            (path, "video/mp4"), (str(path), "video/mp4"), (file, "video/mp4"),
            (b"something", "application/octet-stream"), (io.BytesIO(b"GIF89a..."), "image/gif"),
        ]:  # fmt: skip
            service = Service(good())
            assert connect(service).encode_video(given) == GRID
            assert service.last.headers["content-type"] == media_type
            assert service.last.headers["content-length"] == "9"
            assert len(service.last.content) == 9
            assert service.last.headers["accept"] == media_types.TOKENS


def test_a_pipe_is_sent_as_long_as_it_comes(connect: Connect) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.pieces = [b"some", b"more"]

        def readable(self) -> bool:
            return True

        def readinto(self, place: Any) -> int:
            piece = self.pieces.pop(0) if len(place) and self.pieces else b""
            place[: len(piece)] = piece
            return len(piece)

    service = Service(good())
    connect(service).encode_video(io.BufferedReader(Pipe()))
    assert service.last.content == b"somemore"
    assert service.last.headers["transfer-encoding"] == "chunked"


def test_what_is_asked_stands_in_the_url(connect: Connect) -> None:
    service = Service(good(), good(), good())
    client = connect(service)
    client.encode_video(
        b"x", fps=Fraction(30000, 1001), start=0.1 + 0.2, duration=np.float32(2), max_frames=9
    )
    assert dict(service.last.url.params) == {
        "fps": "30000/1001", "start": "0.3", "duration": "2", "max_frames": "9"
    }  # fmt: skip
    client.encode_video(b"x", fps=25, max_side=64, fit="crop", size=(32, 48), tokenizer="org/other")
    assert dict(service.last.url.params) == {"fps": "25", "max_side": "64", "fit": "crop", "size": "32x48"}
    assert service.last.url.raw_path.startswith(b"/v1/tokenizers/org%2Fother/encode")
    client.encode_video(b"x", fps=GRID.pixels.fps)
    assert dict(service.last.url.params) == {"fps": "25"}


def test_a_clip_may_take_longer_than_the_client_waits_for_a_piece(connect: Connect, tmp_path: Path) -> None:
    service = Service(good())
    client = connect(service)
    client.encode_video(b"x")
    client.decode(GRID, output="numpy")
    client.decode_video(GRID, tmp_path / "a.mp4")
    assert [request.headers.get("x-timeout-ms") for request in service.requests] == [None] * 3
    client.tokenizers()
    assert service.last.headers["x-timeout-ms"] == "60000"
    given = connect(service, headers={"x-timeout-ms": "7"})
    given.tokenizers()
    given.decode(GRID, output="numpy")
    assert [request.headers.get("x-timeout-ms") for request in service.requests[-2:]] == ["7", "7"]


def test_damage_is_a_warning(connect: Connect) -> None:
    headers = {media_types.WARNINGS: json.dumps(["frame 3 is grey", "frame 4 \u00e9 too"])}
    service = Service(httpx.Response(200, content=GRID.to_bytes(), headers=headers))
    with pytest.warns(ClipDamaged) as told:
        assert connect(service).encode_video(b"x") == GRID
    assert [str(warning.message) for warning in told] == ["frame 3 is grey", "frame 4 \u00e9 too"]
    assert told[0].filename == __file__


@pytest.mark.parametrize("warnings", ["none", "7", '{"a": 1}'])
def test_warnings_that_cannot_be_read(connect: Connect, warnings: str) -> None:
    answer = httpx.Response(200, content=GRID.to_bytes(), headers={media_types.WARNINGS: warnings})
    with pytest.raises(UnreadableAnswer):
        connect(Service(answer)).encode_video(b"x")


def test_what_was_sent_is_sent_again_whole(connect: Connect, waits: list[float], tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"something")
    file = io.BytesIO(b"in front of something")
    file.seek(len(b"in front of "))
    for given in (path, file, b"something"):
        service = Service(problem(ErrorCode.OVERLOADED), httpx.ReadError("cut"), good())
        assert connect(service).encode_video(given) == GRID
        assert [request.content for request in service.requests] == [b"something"] * 3
    frames = Service(problem(ErrorCode.OVERLOADED))
    connect(frames).encode_video(PIXELS)
    assert [request.content for request in frames.requests] == [write_npy(PIXELS)] * 2


def test_what_can_be_read_only_once_is_sent_once(connect: Connect, waits: list[float]) -> None:
    class Pipe:
        def read(self, size: int) -> bytes:
            return b""

    service = Service(problem(ErrorCode.OVERLOADED))
    with pytest.raises(Overloaded):
        connect(service).encode_video(Pipe())
    assert len(service.requests) == 1
    assert waits == []


WRONG: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda _: None,
    "a number": lambda _: 7,
    "empty bytes": lambda _: b"",
    "an open text file": lambda _: io.StringIO("text"),
    "a picture": lambda _: PIXELS[0],
    "an array of floats": lambda _: PIXELS.astype(np.float32),
    "no frames": lambda _: PIXELS[:0],
    "a list of pieces": lambda _: [b"a", b"b"],
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_clip_is_never_sent(connect: Connect, tmp_path: Path, make: Callable[..., Any]) -> None:
    service = Service()
    with pytest.raises(InvalidInput, match="expected"):
        connect(service).encode_video(make(tmp_path))
    assert service.requests == []


def test_what_cannot_be_asked_is_never_sent(connect: Connect, tmp_path: Path) -> None:
    service = Service()
    client = connect(service)
    for wrong in ({"fps": "25"}, {"start": [1]}, {"size": (0, 8)}):
        with pytest.raises(InvalidInput, match="expected"):
            client.encode_video(b"x", **wrong)
    with pytest.raises(FileNotFoundError):
        client.encode_video(tmp_path / "absent.mp4")
    with pytest.raises(IsADirectoryError):
        client.encode_video(tmp_path)
    with pytest.raises(InvalidInput, match="open it"):
        client.encode_video("/dev/null")
    with pytest.raises(InvalidInput, match=r"output='numpy'.*decode_video"):
        client.decode(GRID)
    with pytest.raises(InvalidInput, match=r"decode gives the picture"):
        client.decode_video(make_grid(np.array([[1]]), PixelSize(8, 8)), tmp_path / "a.mp4")
    with pytest.raises(InvalidInput, match=r"\.mp4, \.webm, \.gif, \.webp, \.npy, got 'film\.avi'"):
        client.decode_video(GRID, tmp_path / "film.avi")
    assert service.requests == []


class Lengthy(httpx.BaseTransport):
    """A service that keeps nothing of what it is sent, and whose answers are long."""

    def __init__(self) -> None:
        self.received = 0
        self.transport = self

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("encode"):
            assert isinstance(request.stream, httpx.SyncByteStream)
            self.received = sum(len(piece) for piece in request.stream)
            return good()
        pieces = (bytes(2**16) for _ in range(LARGE >> 16))
        return httpx.Response(200, content=pieces, headers={"Content-Type": request.headers["accept"]})


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LARGE // 16
    finally:
        tracemalloc.stop()


def test_a_film_needs_no_more_memory_than_a_piece_of_it(connect: Connect, tmp_path: Path) -> None:
    service = Lengthy()
    client = connect(service)
    film = tmp_path / "film.mp4"
    with film.open("wb") as file:
        file.truncate(LARGE)
    frames = np.zeros((64, 512, LARGE // 64 // 512 // 3, 3), np.uint8)
    with little_memory(), film.open("rb") as file:
        client.encode_video(film)
        assert service.received == LARGE
        client.encode_video(file)
        assert service.received == LARGE
        client.encode_video(frames)
        assert service.received > frames.nbytes
        client.decode_video(GRID, tmp_path / "back.mp4")
    assert (tmp_path / "back.mp4").stat().st_size == LARGE
