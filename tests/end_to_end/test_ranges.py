"""Parts of clips, as browsers ask for them: made once, whole, and kept."""

import asyncio
import io
from collections.abc import Iterator

import av
import httpx
import numpy as np
import pytest

from tests.conftest import tiny_video_tokenizer_of
from tests.end_to_end.watching import figure, until
from tests.pictures import scene
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.clips import encode_clip
from vistok_protocol.tokens import TokenGrid

LIMIT = 150_000
SIDE = 32


@pytest.fixture(scope="module")
def tokenizer() -> VisualTokenizer:
    return tiny_video_tokenizer_of()


@pytest.fixture(scope="module")
def service(tokenizer: VisualTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, temporary = tmp_path_factory.mktemp("tokenizers") / "tiny-video", tmp_path_factory.mktemp("made")
    tokenizer.save_pretrained(folder)
    settings = {"VISTOK_MAX_CLIP_CACHE_BYTES": str(LIMIT), "VISTOK_TORCH_THREADS": "1024"}
    with started("--tokenizer", str(folder), "--device", "cpu", TMPDIR=str(temporary), **settings) as running:
        yield running
        kept = [path for path in temporary.rglob("*") if path.is_file()]
        assert 0 < sum(path.stat().st_size for path in kept) <= LIMIT
        assert all(len(path.name) == 32 for path in kept), "nothing half made is left"
    assert not list(temporary.iterdir())


def grid_of(tokenizer: VisualTokenizer, seed: int, frames: int = 25, side: int = SIDE) -> TokenGrid:
    return encode_clip(tokenizer, [scene(side, side, seed)] * frames)


def url_of(service: Service, grid: TokenGrid) -> str:
    return f"{service.url}/v1/tokenizers/tiny/reconstruction?tokens={grid.to_base64url()}"


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=60
    )


def pixels_done(service: Service) -> float:
    return figure(service, "vistok_pixels_total")


def test_parts_are_those_of_the_whole(service: Service, tokenizer: VisualTokenizer) -> None:
    url = url_of(service, grid_of(tokenizer, 1))
    stream = get(url)
    assert stream.status_code == 200
    assert stream.headers["accept-ranges"] == "bytes"
    assert "content-length" not in stream.headers
    whole, etag = stream.content, stream.headers["etag"]
    size = len(whole)
    parts = {
        "bytes=0-1": (0, 2),
        "bytes=0-": (0, size),
        "bytes=100-299": (100, 300),
        f"bytes={size - 7}-": (size - 7, size),
        "bytes=-50": (size - 50, size),
        f"bytes=10-{size + 1000}": (10, size),
        f"bytes=-{size + 1000}": (0, size),
    }
    for wanted, (start, end) in parts.items():
        part = get(url, Range=wanted)
        assert part.status_code == 206, wanted
        assert part.content == whole[start:end]
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - start)
        assert part.headers["content-type"] == "video/mp4"
        assert (part.headers["etag"], part.headers["vary"]) == (etag, "Accept")
        assert part.headers["cache-control"] == stream.headers["cache-control"]


def test_a_clip_that_is_there_is_given_whole_with_its_length(
    service: Service, tokenizer: VisualTokenizer
) -> None:
    url = url_of(service, grid_of(tokenizer, 2))
    first = get(url, Range="bytes=0-0")
    before = pixels_done(service)
    whole = get(url)
    size = int(first.headers["content-range"].rpartition("/")[2])
    assert (whole.status_code, len(whole.content)) == (200, size)
    assert whole.headers["content-length"] == str(size)
    assert whole.headers["accept-ranges"] == "bytes"
    assert pixels_done(service) == before


def test_parts_one_after_the_other_play(service: Service, tokenizer: VisualTokenizer) -> None:
    url = url_of(service, grid_of(tokenizer, 3))
    data, size = b"", 1
    while len(data) < size:
        part = get(url, Range=f"bytes={len(data)}-{len(data) + 4999}")
        size = int(part.headers["content-range"].rpartition("/")[2])
        data += part.content
    with av.open(io.BytesIO(data)) as opened:
        assert len(list(opened.decode(video=0))) == 25
        opened.seek(int(0.9 * av.time_base))
        assert next(opened.decode(video=0)).width == SIDE


def test_several_parts_at_once(service: Service, tokenizer: VisualTokenizer) -> None:
    url = url_of(service, grid_of(tokenizer, 1))
    answer = get(url, Range="bytes=0-9, 100-109")
    whole = get(url).content
    assert answer.status_code == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    pieces = answer.content.split(f"--{boundary}".encode())
    assert [piece.partition(b"\r\n\r\n")[2][:10] for piece in pieces[1:3]] == [whole[:10], whole[100:110]]


def test_a_part_that_is_not_there(service: Service, tokenizer: VisualTokenizer) -> None:
    url = url_of(service, grid_of(tokenizer, 1))
    size = len(get(url, Range="bytes=0-").content)
    for wanted in (f"bytes={size}-", f"bytes={size + 9}-{size + 99}", "bytes=-0"):
        answer = get(url, Range=wanted)
        assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("wanted", ["frames=0-5", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes", ""])
def test_what_is_no_range_is_as_if_it_were_not_there(
    service: Service, tokenizer: VisualTokenizer, wanted: str
) -> None:
    url = url_of(service, grid_of(tokenizer, 4))
    answer = get(url, Range=wanted)
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "bytes")
    assert len(answer.content) > 1000


def test_parts_are_given_of_what_the_caller_has_begun_to_read(
    service: Service, tokenizer: VisualTokenizer
) -> None:
    url = url_of(service, grid_of(tokenizer, 1))
    first = get(url, Range="bytes=0-9")
    same = get(url, Range="bytes=10-19", If_Range=first.headers["etag"])
    other = get(url, Range="bytes=10-19", If_Range='"other"')
    assert (same.status_code, len(same.content)) == (206, 10)
    assert (other.status_code, other.content[10:20]) == (200, same.content)
    known = get(url, Range="bytes=10-19", If_None_Match=first.headers["etag"])
    assert (known.status_code, known.content) == (304, b"")


def test_head_makes_nothing(service: Service, tokenizer: VisualTokenizer) -> None:
    url = url_of(service, grid_of(tokenizer, 5))
    before = pixels_done(service)
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = httpx.head(url, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert answer.headers["accept-ranges"] == "bytes"
        assert "content-length" not in answer.headers
    assert pixels_done(service) == before
    assert answer.headers["etag"] == get(url).headers["etag"]


async def test_many_at_once_have_it_made_once(service: Service, tokenizer: VisualTokenizer) -> None:
    grids = [grid_of(tokenizer, seed, frames=41) for seed in (6, 7)]
    before = pixels_done(service)
    get(url_of(service, grids[0]), Range="bytes=0-")
    once = pixels_done(service) - before
    url, ranges = url_of(service, grids[1]), [f"bytes={start}-{start + 99}" for start in range(0, 1000, 100)]
    async with httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.gather(*(client.get(url, headers={"Range": wanted}) for wanted in ranges))
    assert pixels_done(service) - before == 2 * once
    assert b"".join(answer.content for answer in answers) == get(url).content[:1000]


async def test_who_leaves_while_it_is_made_spoils_it_for_nobody(
    service: Service, tokenizer: VisualTokenizer
) -> None:
    url = url_of(service, grid_of(tokenizer, 8, frames=241))
    begun = figure(service, "vistok_device_seconds_count")
    async with httpx.AsyncClient(timeout=60) as client:
        asking = [asyncio.create_task(client.get(url, headers={"Range": "bytes=0-"})) for _ in range(2)]
        await asyncio.to_thread(until, lambda: figure(service, "vistok_device_seconds_count") > begun + 1)
        asking[0].cancel()
        answer = await asking[1]
    assert answer.status_code == 206
    with av.open(io.BytesIO(answer.content)) as opened:
        assert len(list(opened.decode(video=0))) == 241


@pytest.mark.parametrize("deadline", [{}, {"X-Timeout-Ms": "500"}], ids=["leaves", "in time"])
async def test_what_nobody_waits_for_is_not_made(
    service: Service, tokenizer: VisualTokenizer, deadline: dict[str, str]
) -> None:
    url = url_of(service, grid_of(tokenizer, 9 + len(deadline), frames=4801))
    begun = figure(service, "vistok_device_seconds_count")
    async with httpx.AsyncClient(timeout=60) as client:
        asking = asyncio.create_task(client.get(url, headers={"Range": "bytes=0-"} | deadline))
        await asyncio.to_thread(until, lambda: figure(service, "vistok_device_seconds_count") > begun + 1)
        if deadline:
            answer = await asking
            assert (answer.status_code, answer.json()["code"]) == (504, "timed_out")
        asking.cancel()
        await asyncio.wait([asking])
    await asyncio.to_thread(until, lambda: not figure(service, "vistok_items"))
    assert figure(service, "vistok_device_seconds_count") < begun + 300  # as many pieces as it has


def test_a_clip_larger_than_the_folder_comes_as_a_stream(
    service: Service, tokenizer: VisualTokenizer
) -> None:
    grid = encode_clip(tokenizer, [scene(96, 96)] * 9)
    assert LIMIT < 9 * 96 * 96 * 3
    for _ in range(2):
        answer = get(url_of(service, grid), Range="bytes=0-99", Accept="application/x-npy")
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        assert np.load(io.BytesIO(answer.content)).shape == (9, 96, 96, 3)


def test_the_least_recently_seen_go_and_are_made_again(service: Service, tokenizer: VisualTokenizer) -> None:
    def url(seed: int) -> str:
        return url_of(service, grid_of(tokenizer, seed, 9, 64))

    seen, unseen = url(20), url(21)
    size = len(get(seen, Range="bytes=0-").content)
    for one in (unseen, seen):
        get(one, Range="bytes=0-")
    for seed in range(22, 22 + LIMIT // size):
        get(url(seed), Range="bytes=0-")
        before = pixels_done(service)
        assert get(seen, Range="bytes=0-9").status_code == 206
        assert pixels_done(service) == before
    assert get(unseen, Range="bytes=0-9").status_code == 206
    assert pixels_done(service) > before
