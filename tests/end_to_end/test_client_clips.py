"""The real client and clips: streamed and whole, to tokens and back, against a real service."""

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.clips import clip
from tests.end_to_end.films import ARRIVING, FILM, FRAMES, of_library
from tests.end_to_end.watching import figure, until
from tests.pictures import scene
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.clips import decode_clip, encode_clip
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_client import (
    AsyncClient,
    Client,
    ClipDamaged,
    ConnectionFailed,
    InvalidRequest,
    NotFound,
    PixelSize,
    TokenGrid,
)

MIDDLE = 2 * len(ARRIVING) // 3


@pytest.fixture(scope="module")
def service(video_folder: Path) -> Iterator[Service]:
    with started("--tokenizer", str(video_folder), "--device", "cpu") as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, video_tokenizer="tiny") as client:
        yield client


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    path.write_bytes(FILM)
    return path


def test_every_way_in_gives_the_librarys_tokens(
    client: Client, video_tokenizer: VisualTokenizer, film: Path
) -> None:
    expected = of_library(video_tokenizer, FILM)
    assert expected.pixels == PixelSize(30, 44, 45, Fraction(30000, 1001))
    for way in (film, str(film), FILM):
        assert client.encode_video(way) == expected
        assert TokenGrid.joined(client.stream_video(way)) == expected
    with film.open("rb") as file:
        assert client.encode_video(file) == expected
        file.seek(0)
        assert TokenGrid.joined(client.stream_video(file)) == expected
    assert TokenGrid.joined(client.stream_video([FILM[:1000], b"", FILM[1000:]])) == expected


async def test_the_asynchronous_client_does_the_same(
    service: Service, video_tokenizer: VisualTokenizer, film: Path
) -> None:
    expected = of_library(video_tokenizer, FILM)
    async with AsyncClient(service.url, video_tokenizer="tiny") as client:
        whole = await asyncio.gather(client.encode_video(film), client.encode_video(FILM))
        assert whole == [expected] * 2
        for way in (film, iter([FILM])):
            assert TokenGrid.joined([grid async for grid in client.stream_video(way)]) == expected


def test_what_is_read_of_a_clip_can_be_chosen(client: Client, video_tokenizer: VisualTokenizer) -> None:
    expected = of_library(video_tokenizer, FILM, Selection.parse("30000/1001", "0.1", "0.7", 5, 22))
    options = {
        "fps": Fraction(30000, 1001), "start": 0.1, "duration": 0.7, "max_frames": 5, "max_side": 22
    }  # fmt: skip
    assert client.encode_video(FILM, **options) == expected
    assert TokenGrid.joined(client.stream_video(FILM, **options)) == expected


def test_the_first_grids_come_before_the_last_bytes_go(
    client: Client, video_tokenizer: VisualTokenizer
) -> None:
    came = threading.Event()

    def arriving() -> Iterator[bytes]:
        yield ARRIVING[:MIDDLE]
        assert came.wait(timeout=60)
        yield ARRIVING[MIDDLE:]

    grids = []
    for grid in client.stream_video(arriving()):
        grids.append(grid)
        came.set()
    assert [grid.pixels.frames for grid in grids] == [1, 16, 16, 12]
    assert TokenGrid.joined(grids) == of_library(video_tokenizer, ARRIVING)


async def test_the_first_grids_come_before_the_last_bytes_go_in_one_loop(
    service: Service, video_tokenizer: VisualTokenizer
) -> None:
    came = asyncio.Event()

    async def arriving() -> AsyncIterator[bytes]:
        yield ARRIVING[:MIDDLE]
        await came.wait()
        yield ARRIVING[MIDDLE:]

    grids = []
    async with AsyncClient(service.url, video_tokenizer="tiny") as client:
        async for grid in client.stream_video(arriving()):
            grids.append(grid)
            came.set()
    assert TokenGrid.joined(grids) == of_library(video_tokenizer, ARRIVING)


ENDLESS = clip([scene(96, 128, i) for i in range(9)], "mpegts", options={"tune": "zerolatency"})


def test_who_leaves_an_endless_clip_ends_it(client: Client, service: Service) -> None:
    before = threading.active_count()
    for grid in client.stream_video(repeat(ENDLESS)):
        assert grid.pixels.height == 96
        break
    until(lambda: not figure(service, "vistok_items"))
    until(lambda: threading.active_count() == before)


async def test_who_leaves_an_endless_clip_ends_it_in_one_loop(service: Service) -> None:
    async with AsyncClient(service.url, video_tokenizer="tiny") as client:
        async for _ in client.stream_video(repeat(ENDLESS)):
            break
        await asyncio.to_thread(until, lambda: not figure(service, "vistok_items"))


def test_damage_is_a_warning(client: Client) -> None:
    damaged = bytearray(ARRIVING)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 400] = bytes(400)
    with pytest.warns(ClipDamaged) as told:
        grid = client.encode_video(bytes(damaged))
    assert told[0].filename == __file__
    with pytest.warns(ClipDamaged) as told_at_the_end:
        assert TokenGrid.joined(client.stream_video(bytes(damaged))).pixels == grid.pixels
    assert [str(a.message) for a in told_at_the_end] == [str(a.message) for a in told]


@pytest.mark.parametrize("method", ["encode_video", "stream_video"])
def test_mistakes_raise_with_code_and_request_id(client: Client, method: str) -> None:
    def call(*arguments: object, **options: object) -> InvalidRequest:
        with pytest.raises(InvalidRequest) as refused:
            list(getattr(client, method)(*arguments, **options))
        assert refused.value.request_id
        return refused.value

    assert call(b"no clip at all, " * 9).code == "unreadable_media"
    assert call(FILM[: len(FILM) // 9]).code == "unreadable_media"
    wrong_rate = call(FILM, fps=-1)
    assert wrong_rate.code == "invalid_request"
    assert "expected fps" in wrong_rate.detail
    with pytest.raises(NotFound, match="nobody"):
        list(getattr(client, method)(FILM, tokenizer="nobody"))


def test_a_clip_may_be_too_long_for_one_grid(client: Client) -> None:
    # As many seconds as the service takes, and one; repeated, so that it takes no time.
    long = clip([FRAMES[0]] * 2, rate=10, times=[0, 3010])
    with pytest.raises(InvalidRequest) as refused:
        client.encode_video(long)
    assert refused.value.code == "too_large"


def test_a_service_that_dies_is_a_failed_connection(video_folder: Path) -> None:
    before = threading.active_count()
    with (
        started("--tokenizer", str(video_folder), "--device", "cpu") as service,
        Client(service.url, video_tokenizer="tiny") as client,
    ):
        grids = client.stream_video(repeat(ENDLESS))
        assert next(grids).pixels.frames == 1
        service.process.kill()
        with pytest.raises(ConnectionFailed):
            list(grids)
    until(lambda: threading.active_count() == before)


def test_arrays_go_and_come(client: Client, video_tokenizer: VisualTokenizer) -> None:
    pixels = np.stack(FRAMES[:9])
    grid = client.encode_video(pixels)
    assert np.array_equal(grid.ids, encode_clip(video_tokenizer, FRAMES[:9]).ids)
    assert np.array_equal(TokenGrid.joined(client.stream_video(pixels)).ids, grid.ids)
    back = client.decode(grid, output="numpy")
    assert (back.dtype, back.shape) == (np.uint8, pixels.shape)
    assert np.array_equal(back, np.stack(list(decode_clip(video_tokenizer, grid))))


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp"])
def test_clips_are_written_to_files(
    client: Client, video_tokenizer: VisualTokenizer, tmp_path: Path, ending: str
) -> None:
    grid = of_library(video_tokenizer, FILM)
    path = tmp_path / f"back.{ending}"
    client.decode_video(grid, path)
    with open_clip(path.read_bytes(), Selection(), ClipLimits()) as back:
        frames = list(back.frames)
    assert frames[0].shape == (30, 44, 3)
    assert len(frames) == 45 or ending == "webp"
    assert list(tmp_path.iterdir()) == [path]


async def test_arrays_are_written_to_files(
    service: Service, video_tokenizer: VisualTokenizer, tmp_path: Path
) -> None:
    grid = of_library(video_tokenizer, FILM)
    async with AsyncClient(service.url, video_tokenizer="tiny") as client:
        await client.decode_video(grid.to_bytes(), tmp_path / "back.npy")
        await client.decode_video(grid.ids, tmp_path / "padded.npy")
    frames = np.load(tmp_path / "back.npy")
    assert np.array_equal(frames, np.stack(list(decode_clip(video_tokenizer, grid))))
    assert np.load(tmp_path / "padded.npy").shape == (45, 32, 48, 3)


def test_a_grid_that_was_put_can_be_got_and_shown(client: Client, video_tokenizer: VisualTokenizer) -> None:
    grid = of_library(video_tokenizer, clip(FRAMES[:6]))
    identity = client.put_grid(grid)
    assert client.put_grid(grid.to_bytes()) == identity
    assert client.get_grid(identity) == grid
    with pytest.raises(NotFound):
        client.get_grid("0" * len(identity))
    shown = httpx.get(client.reconstruction_url(identity), timeout=60)
    assert shown.headers["content-type"] == "video/mp4"
    with open_clip(shown.content, Selection(), ClipLimits()) as back:
        assert len(list(back.frames)) == 6


def test_nothing_is_warned_of_a_good_clip(client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.encode_video(FILM)
