"""Clips that are written to files, and grids that are left with the service."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.client.service import FINGERPRINT, Service, clip_grid, problem
from vistok_client import (
    Client,
    ConnectionFailed,
    InvalidInput,
    NotFound,
    PixelSize,
    TokenGrid,
    UnreadableAnswer,
)
from vistok_protocol.errors import ErrorCode

Connect = Callable[..., Client]
GRID = clip_grid(np.arange(5 * 3 * 2).reshape(5, 3, 2), (5, 20, 13, 3))


def test_a_clip_is_written_in_the_kind_of_its_ending(connect: Connect, tmp_path: Path) -> None:
    service = Service()
    client = connect(service)
    for ending, media_type in {
        "mp4": "video/mp4", "WEBM": "video/webm", "gif": "image/gif", "webp": "image/webp",
    }.items():  # fmt: skip
        client.decode_video(GRID.to_bytes(), str(tmp_path / f"a.{ending}"))
        assert service.last.headers["accept"] == media_type
        assert TokenGrid.load(tmp_path / f"a.{ending}") == GRID
    client.decode_video(GRID, tmp_path / "a.npy", tokenizer="grey")
    assert np.array_equal(np.load(tmp_path / "a.npy"), client.decode(GRID, output="numpy"))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_failure_leaves_what_was_there(connect: Connect, waits: list[float], tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"half a film"
        raise httpx.ReadError("cut")

    path = tmp_path / "film.mp4"
    path.write_bytes(b"what was there")
    kind = {"Content-Type": "video/mp4"}
    for outcome, error in [
        (lambda: httpx.Response(200, content=cut(), headers=kind), ConnectionFailed),
        (lambda: problem(ErrorCode.NOT_FOUND), NotFound),
        (lambda: httpx.Response(200, html="another server"), UnreadableAnswer),
    ]:
        with pytest.raises(error):
            connect(Service(*(outcome() for _ in range(9)))).decode_video(GRID, path)
        assert path.read_bytes() == b"what was there"
    again = Service(httpx.Response(200, content=cut(), headers=kind))
    connect(again).decode_video(GRID, path)
    assert TokenGrid.load(path) == GRID
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        connect(Service()).decode_video(GRID, tmp_path / "absent" / "a.mp4")


def test_a_link_stays_a_link(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    connect(Service()).decode_video(GRID, tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink()
    assert TokenGrid.load(tmp_path / "film.mp4") == GRID


def test_grids_can_be_put_and_got(connect: Connect) -> None:
    service = Service()
    client = connect(service)
    identity = client.put_grid(GRID)
    assert client.put_grid(GRID.to_bytes()) == identity
    assert client.get_grid(identity) == GRID
    with pytest.raises(NotFound) as missing:
        client.get_grid("a/b")
    assert missing.value.code == "grid_not_found"
    assert service.last.url.raw_path == b"/v1/grids/a%2Fb"
    with pytest.raises(InvalidInput):
        client.put_grid(b"no tokens")
    with pytest.raises(UnreadableAnswer):
        connect(Service(httpx.Response(200, json={"id": 7}))).put_grid(GRID)


def test_a_grid_that_was_put_has_an_address(connect: Connect) -> None:
    client = connect(Service())
    assert client.reconstruction_url("ab12") == "http://test/v1/grids/ab12/reconstruction"
    with pytest.raises(InvalidInput, match="its own tokenizer"):
        client.reconstruction_url("ab12", tokenizer="grey")
    long = TokenGrid(np.zeros((1, 300, 300), int), "grey", FINGERPRINT, "video", 256, PixelSize(1, 1, 1))
    with pytest.raises(InvalidInput, match="put_grid"):
        client.reconstruction_url(long)
