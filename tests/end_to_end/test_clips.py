"""Clips through a running service: whole, as they arrive, and as they should not be."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import torch

from tests.clips import clip
from tests.end_to_end.films import ARRIVING, FILM, FRAMES, of_library
from tests.end_to_end.watching import figure, until, workers_of
from tests.pictures import encoded, scene
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.clips import decode_clip
from vistok.evaluation.psnr import psnr
from vistok.grids import encode_picture
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.npy import read_npy, write_npy
from vistok_protocol.tokens import PixelSize, TokenGrid

ENCODE, DECODE = "/v1/tokenizers/tiny/encode", "/v1/tokenizers/tiny/decode"
MP4 = {"Content-Type": "video/mp4"}
LINES = MP4 | {"Accept": "application/x-ndjson"}


@pytest.fixture(scope="module")
def service(video_folder: Path) -> Iterator[Service]:
    with started("--tokenizer", str(video_folder), "--device", "cpu", VISTOK_MAX_CLIP_SECONDS="3") as service:
        yield service


def post(service: Service, body: object, query: str = "", **headers: str) -> httpx.Response:
    return httpx.post(service.url + ENCODE + query, content=body, headers=MP4 | headers, timeout=60)


def readers(service: Service) -> set[int]:
    """Give the processes that decode clips."""
    return {child for child in workers_of(service) if b"clips.child" in _command(child)}


def _command(process: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def test_a_clip_has_the_tokens_of_the_library(service: Service, video_tokenizer: VisualTokenizer) -> None:
    grid = of_library(video_tokenizer, FILM)
    assert grid.pixels == PixelSize(30, 44, 45, Fraction(30000, 1001))
    answer = post(service, FILM).json()
    assert (answer["kind"], answer["shape"], answer["pixels"]["frames"]) == ("video", [12, 4, 6], 45)
    assert answer["ids"] == grid.ids.tolist()
    assert TokenGrid.from_base64url(answer["tokens"]) == grid
    in_bytes = post(service, FILM, Accept="application/vnd.vistok.tokens")
    assert TokenGrid.from_bytes(in_bytes.content) == grid


def test_what_is_read_of_a_clip_can_be_chosen(service: Service, video_tokenizer: VisualTokenizer) -> None:
    answer = post(service, FILM, "?fps=10&start=0.5&duration=0.6&max_side=22&max_frames=5").json()
    wanted = Selection.parse("10", "0.5", "0.6", 5, 22)
    assert answer["pixels"] == {"height": 15, "width": 22, "frames": 5, "fps": 10.0}
    assert answer["ids"] == of_library(video_tokenizer, FILM, wanted).ids.tolist()


def test_a_picture_is_a_clip_of_one_frame(service: Service, video_tokenizer: VisualTokenizer) -> None:
    answer = post(service, encoded(FRAMES[0]), **{"Content-Type": "image/png"}).json()
    assert answer["ids"] == encode_picture(video_tokenizer, FRAMES[0]).ids.tolist()
    assert answer["pixels"]["frames"] == 1


def test_several_files_have_a_grid_or_an_error_each(
    service: Service, video_tokenizer: VisualTokenizer
) -> None:
    files = [("a", ("film.mp4", FILM)), ("b", ("text.mp4", b"no clip")), ("c", ("p.png", encoded(FRAMES[0])))]
    answer = httpx.post(service.url + ENCODE, files=files, timeout=60).json()
    film, text, picture = answer["items"]
    assert film["ids"] == of_library(video_tokenizer, FILM).ids.tolist()
    assert text["error"]["code"] == "unreadable_media"
    assert picture["shape"] == [1, 4, 6]


def test_ids_come_while_the_clip_is_still_arriving(
    service: Service, video_tokenizer: VisualTokenizer
) -> None:
    lines: list[dict[str, object]] = []
    middle = 2 * len(ARRIVING) // 3

    def arriving() -> Iterator[bytes]:
        yield ARRIVING[:middle]
        until(lambda: figure(service, "vistok_device_seconds_count") > begun + 1)
        yield ARRIVING[middle:]

    begun = figure(service, "vistok_device_seconds_count")
    with httpx.stream(
        "POST", service.url + ENCODE, content=arriving(), headers=LINES, timeout=60
    ) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.iter_lines()]
    *pieces, end = lines
    assert end == {"end": 12, "frames": 45, "warnings": []}
    assert [piece["start"] for piece in pieces] == [0, 1, 5, 9]
    assert [piece["pixels"]["frames"] for piece in pieces] == [1, 16, 16, 12]
    grids = [TokenGrid.from_base64url(piece["tokens"]) for piece in pieces]
    ids = np.concatenate([grid.ids for grid in grids])
    assert np.array_equal(ids, of_library(video_tokenizer, ARRIVING).ids)


class Talk:
    """A call whose answer is read while its body is sent, which httpx does not do."""

    @classmethod
    async def begin(cls, service: Service) -> Self:
        url = urlsplit(service.url)
        talk = cls()
        connection = socket.socket()
        # Little that is not read lies between the service and us.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((url.hostname, url.port))
        talk.reader, talk.writer = await asyncio.open_connection(sock=connection)
        head = f"POST {ENCODE} HTTP/1.1\r\nHost: {url.netloc}\r\nTransfer-Encoding: chunked\r\n"
        talk.writer.write(f"{head}Accept: application/x-ndjson\r\n\r\n".encode())
        return talk

    async def send(self, body: Iterable[bytes]) -> None:
        for piece in body:
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self.writer.drain()
            self.sent += len(piece)

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        assert b"200 OK" in await self.reader.readuntil(b"\r\n\r\n")
        while size := int(await self.reader.readline(), 16):
            yield json.loads(await self.reader.readexactly(size))
            await self.reader.readline()

    def __init__(self) -> None:
        self.sent = 0


ENDLESS = clip([scene(192, 256, i) for i in range(9)], "mpegts", options={"tune": "zerolatency"})


async def test_an_endless_clip_gives_ids_until_its_caller_leaves(service: Service) -> None:
    talk = await Talk.begin(service)
    sending = asyncio.create_task(talk.send(repeat(ENDLESS)))
    frames = 0
    async for line in talk.lines():
        frames += line["pixels"]["frames"]
        if frames > 150:  # longer than what the service takes of a clip that is answered whole
            break
    assert len(readers(service)) == 1
    sending.cancel()
    talk.writer.transport.abort()
    await asyncio.to_thread(until, lambda: not readers(service) and not figure(service, "vistok_items"))


@pytest.mark.slow
async def test_a_caller_who_does_not_read_makes_the_work_wait(service: Service) -> None:
    talk = await Talk.begin(service)
    sending = asyncio.create_task(talk.send(repeat(ENDLESS)))
    before, sent = -1, 0
    # Once what lies between is full, nothing more is taken.
    while sent != before:
        await asyncio.sleep(2)
        before, sent = sent, talk.sent
    assert sent > 0
    async for line in talk.lines():
        if line["start"] > 40:
            break
    sending.cancel()
    talk.writer.transport.abort()
    await asyncio.to_thread(until, lambda: not readers(service))


@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_costs_no_clip(
    service: Service, video_tokenizer: VisualTokenizer, which: int
) -> None:
    # The processes of other clips are gone.
    until(lambda: len(workers_of(service)) == figure(service, "vistok_workers_up"))
    workers = workers_of(service)
    with httpx.stream("POST", service.url + ENCODE, content=ARRIVING, headers=LINES, timeout=60) as response:
        lines = response.iter_lines()
        found = [json.loads(next(lines))]
        os.kill(workers[which % len(workers)], signal.SIGKILL)
        found += [json.loads(line) for line in lines]
    ids = [piece["ids"] for piece in found[:-1]]
    assert np.array_equal(np.concatenate(ids), of_library(video_tokenizer, ARRIVING).ids)
    until(lambda: figure(service, "vistok_workers_up") == len(workers))


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b"", 400, "empty_body", "expected a clip"),
        (b"no clip at all, " * 9, 422, "unreadable_media", "expected a clip"),
        (FILM[: len(FILM) // 9], 422, "unreadable_media", ""),
        (clip([FRAMES[0]] * 50, rate=10), 413, "too_large", "at most 3 seconds"),
    ],
    ids=["nothing", "text", "cut", "long"],
)
@pytest.mark.parametrize("headers", [MP4, LINES], ids=["whole", "lines"])
def test_what_is_refused(
    service: Service, body: bytes, status: int, code: str, says: str, headers: dict[str, str]
) -> None:
    answer = post(service, body, **headers)
    if says == "at most 3 seconds" and headers is LINES:
        assert answer.status_code == 200
        return
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert says in problem["detail"]
    assert not readers(service)


def test_damage_is_told(service: Service) -> None:
    damaged = bytearray(ARRIVING)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 400] = bytes(400)
    answer = post(service, bytes(damaged))
    assert answer.status_code == 200
    assert json.loads(answer.headers["vistok-warnings"])
    assert answer.json()["pixels"]["frames"] > 10


def test_wrong_parameters_are_named(service: Service) -> None:
    answer = post(service, FILM, "?fps=fast")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "expected fps to be a number" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("media_type", "rate"),
    [("video/mp4", Fraction(30000, 1001)), ("video/webm", Fraction(30000, 1001)), ("image/gif", None),
     ("image/webp", None)],
)  # fmt: skip
def test_tokens_become_a_clip(
    service: Service, video_tokenizer: VisualTokenizer, media_type: str, rate: Fraction | None
) -> None:
    grid = of_library(video_tokenizer, FILM)
    headers = {"Content-Type": "application/vnd.vistok.tokens", "Accept": media_type}
    answer = httpx.post(service.url + DECODE, content=grid.to_bytes(), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    with open_clip(answer.content, Selection(), ClipLimits()) as back:
        frames = list(back.frames)
        assert (back.height, back.width) == (30, 44)
        assert rate is None or back.fps == rate
    original = list(decode_clip(video_tokenizer, grid))
    assert len(frames) == len(original) or media_type == "image/webp"
    assert psnr(original[-1], frames[-1]) > 20


def test_bare_ids_become_an_mp4(service: Service) -> None:
    ids = np.zeros((3, 2, 2), int).tolist()
    answer = httpx.post(service.url + DECODE, json={"ids": ids}, timeout=60)
    assert answer.headers["content-type"] == "video/mp4"
    with open_clip(answer.content, Selection(), ClipLimits()) as back:
        assert [frame.shape for frame in back.frames] == [(16, 16, 3)] * 9
    assert not readers(service)


@pytest.mark.parametrize(
    ("ids", "code"),
    [([[0, 1]], "invalid_shape"), ([[[60]]], "id_out_of_range"), ([[["a"]]], "invalid_request")],
)
def test_ids_that_are_no_clip_are_refused(service: Service, ids: object, code: str) -> None:
    answer = httpx.post(service.url + DECODE, json={"ids": ids}, timeout=60)
    assert answer.json()["code"] == code


def test_a_clip_plays_from_its_url(service: Service, video_tokenizer: VisualTokenizer) -> None:
    grid = of_library(video_tokenizer, clip(FRAMES[:6]))
    url = f"{service.url}/v1/tokenizers/tiny/reconstruction?tokens={grid.to_base64url()}"
    answer = httpx.get(url, timeout=60)
    assert answer.headers["content-type"] == "video/mp4"
    with open_clip(answer.content, Selection(), ClipLimits()) as back:
        assert len(list(back.frames)) == 6
    again = httpx.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_the_quantizer_alone(service: Service, video_tokenizer: VisualTokenizer) -> None:
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    headers = {"Content-Type": "application/x-npy"}
    url = f"{service.url}/v1/tokenizers/tiny"
    quantized = httpx.post(f"{url}/quantize", content=write_npy(features), headers=headers).json()
    ids = video_tokenizer.quantize(torch.from_numpy(features))
    assert quantized["ids"] == ids.tolist()
    codes = httpx.post(f"{url}/lookup", json={"ids": quantized["ids"]})
    assert np.array_equal(read_npy(codes.content, max_elements=10**6), video_tokenizer.lookup(ids).numpy())


def test_a_round_trip_in_one_call_is_for_pictures(service: Service) -> None:
    answer = httpx.post(f"{service.url}/v1/tokenizers/tiny/reconstruct", content=FILM, headers=MP4)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "is for clips" in answer.json()["detail"]
