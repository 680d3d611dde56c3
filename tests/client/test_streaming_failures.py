"""Streams of clips that fail: what is raised, what is tried again, and how long is waited."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import Collect, Serve
from tests.client.line_service import Answer, LineService, Talk, film, grid_of
from vistok_client import (
    AsyncClient,
    CallTimedOut,
    Client,
    ConnectionFailed,
    FingerprintMismatch,
    InvalidInput,
    InvalidRequest,
    Unavailable,
    UnreadableAnswer,
)
from vistok_protocol.errors import ErrorCode


def ending(*lines: dict[str, Any] | bytes, whole: bool = True) -> Answer:
    def answer(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        for line in lines:
            if isinstance(line, bytes):
                talk.send(line)
            else:
                talk.line(**line)
        if whole:
            talk.wfile.write(b"0\r\n\r\n")

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        ending(),
        ending(b'{"start"'),
        ending(b"<html>\n"),
        ending(b"[]\n"),
        ending({"start": 2}),
        ending({"end": 7, "frames": 7, "warnings": []}),
        ending({"end": 1, "frames": 1, "warnings": "none"}),
        ending({"error": {"status": 422}}),
    ],
    ids=["no end", "half a line", "html", "list", "gap", "too few", "no list", "no problem"],
)
def test_an_answer_that_breaks_the_promise(serve: Serve, collect: Collect, answer: Answer) -> None:
    service = serve(answer)
    with pytest.raises(UnreadableAnswer) as broken:
        collect(service, b"clip")
    assert broken.value.request_id == service.requests[0].headers["x-request-id"]


def test_an_answer_without_lines_is_no_answer(serve: Serve, collect: Collect) -> None:
    def html(talk: Talk) -> None:
        talk.begin(media_type="text/html")
        talk.send(b"<html>another server</html>")
        talk.wfile.write(b"0\r\n\r\n")

    def redirect(talk: Talk) -> None:
        talk.begin(302, Location="http://elsewhere")
        talk.wfile.write(b"0\r\n\r\n")

    for answer in (html, redirect):
        with pytest.raises(UnreadableAnswer):
            collect(serve(answer), b"clip")


def test_a_connection_that_is_cut_is_a_failed_one(serve: Serve, collect: Collect, waits: list[float]) -> None:
    service = serve(ending(whole=False))
    with pytest.raises(ConnectionFailed) as failed:
        collect(service, b"clip")
    assert failed.value.request_id == service.requests[0].headers["x-request-id"]
    assert waits == [], "what has begun is not repeated"


def test_an_error_in_the_middle_is_that_of_its_status(serve: Serve, collect: Collect) -> None:
    def problem(code: ErrorCode) -> dict[str, Any]:
        fields = {"title": "", "status": code.status, "code": code, "detail": "why", "request_id": "theirs"}
        return {"error": fields}

    for code, kind in [
        (ErrorCode.UNREADABLE_MEDIA, InvalidRequest),
        (ErrorCode.TIMED_OUT, Unavailable),
        (ErrorCode.FINGERPRINT_MISMATCH, FingerprintMismatch),
    ]:
        with pytest.raises(kind, match="why") as refused:
            collect(serve(ending(problem(code))), b"clip")
        assert (refused.value.code, refused.value.request_id) == (code, "theirs")


def overloaded(talk: Talk) -> None:
    talk.refuse(ErrorCode.OVERLOADED)


def not_ready(talk: Talk) -> None:
    talk.refuse(ErrorCode.NOT_READY, Retry_After="7")


def gone(talk: Talk) -> None:
    talk.rfile.read(1)


def silent(talk: Talk) -> None:
    assert not [piece for piece in talk.pieces() if not piece]


def test_what_will_pass_is_tried_again(
    serve: Serve, collect: Collect, waits: list[float], tmp_path: Path
) -> None:
    path = tmp_path / "film"
    path.write_bytes(b"film")
    with path.open("rb") as file:
        file.seek(2)
        for clip, sent in [(path, b"film"), (b"film", b"film"), (file, b"lm")]:
            came: list[bytes] = []

            def good(talk: Talk, came: list[bytes] = came) -> None:
                came += talk.pieces()
                talk.begin()
                talk.grid(0)
                talk.end(1)

            waits.clear()
            service = serve(overloaded, gone, not_ready, good)
            assert collect(service, clip) == [grid_of(0)]
            assert b"".join(came) == sent
            assert len(waits) == 3
            assert waits[2] == 7
            assert len({talk.headers["x-request-id"] for talk in service.requests}) == 1


def test_trying_ends(serve: Serve, collect: Collect, waits: list[float]) -> None:
    service = serve(not_ready)
    with pytest.raises(Unavailable) as refused:
        collect(service, b"clip", retries=2)
    assert refused.value.retry_after == 7
    assert refused.value.request_id == service.requests[2].headers["x-request-id"]
    assert waits == [7, 7]


def test_what_can_be_read_only_once_is_sent_once(serve: Serve, collect: Collect, waits: list[float]) -> None:
    with pytest.raises(Unavailable):
        collect(serve(not_ready), iter([b"clip"]))
    with pytest.raises(ConnectionFailed):
        collect(serve(gone), iter([b"clip"]))
    assert waits == []


def test_nobody_there_is_a_failed_connection(collect: Collect, waits: list[float]) -> None:
    service = LineService(film)
    service.server_close()
    with pytest.raises(ConnectionFailed):
        collect(service, b"clip", retries=1)
    assert len(waits) == 1


def test_a_service_that_does_nothing_is_not_waited_for(serve: Serve, collect: Collect) -> None:
    def asleep(talk: Talk) -> None:
        talk.begin()
        talk.grid(0)
        assert over.wait(30)

    over = threading.Event()
    with pytest.raises(CallTimedOut):
        collect(serve(asleep), b"clip", timeout=0.2)
    over.set()


def test_a_source_that_takes_its_time_may(serve: Serve, collect: Collect) -> None:
    def slow() -> Iterator[bytes]:
        yield b"a frame"
        time.sleep(0.6)
        yield b"another"

    assert len(collect(serve(film), slow(), timeout=0.2)) == 2


def test_what_a_source_raises_comes_out(serve: Serve, collect: Collect) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a frame"
        raise KeyError("of the camera")

    def text() -> Iterator[Any]:
        yield b"a frame"
        yield "text"

    with pytest.raises(KeyError, match="of the camera"):
        collect(serve(film), broken())
    with pytest.raises(InvalidInput, match="expected pieces of a file as bytes, got str"):
        collect(serve(film), text())
    with pytest.raises(KeyError, match="of the camera"):
        collect(serve(silent), broken())


async def test_what_an_asynchronous_source_raises_comes_out(serve: Serve) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a frame"
        raise KeyError("of the camera")

    async with AsyncClient(serve(film).url, video_tokenizer="grey") as client:
        with pytest.raises(KeyError, match="of the camera"):
            [grid async for grid in client.stream_video(broken())]


def test_a_file_that_becomes_shorter_is_an_error_of_the_file(
    serve: Serve, collect: Collect, tmp_path: Path
) -> None:
    def cut(talk: Talk) -> None:
        path.write_bytes(b"")
        talk.begin()
        talk.grid(0)
        assert not talk.rfile.read(2**26)[2**25 :]

    path = tmp_path / "film"
    path.write_bytes(bytes(2**26))
    with pytest.raises(OSError, match="became shorter"):
        collect(serve(cut), path)


def test_a_closed_client_says_so(serve: Serve) -> None:
    service = serve(film)
    with Client(service.url) as client:
        pass
    with pytest.raises(ConnectionFailed, match="closed"):
        client.stream_video(b"clip")
    assert service.requests == []


@pytest.mark.parametrize("clip", [None, 7, b"", "absent.mp4"], ids=str)
def test_what_is_no_clip_is_said_at_once(serve: Serve, clip: Any) -> None:
    with Client(serve(film).url) as client, pytest.raises((InvalidInput, FileNotFoundError)):
        list(client.stream_video(clip))
