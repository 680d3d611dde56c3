"""Clips as arrays, into a running service and out of it."""

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.clips import clip
from tests.conftest import tiny_video_tokenizer_of
from tests.end_to_end.watching import figure, until
from tests.pictures import encoded, scene
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.clips import decode_clip, encode_clip
from vistok.media.clips.formats import USUAL_RATE
from vistok_protocol.npy import npy_header, write_npy
from vistok_protocol.tokens import TokenGrid

ENCODE, DECODE = "/v1/tokenizers/tiny/encode", "/v1/tokenizers/tiny/decode"
NPY = {"Content-Type": "application/x-npy"}
LINES = NPY | {"Accept": "application/x-ndjson"}
FRAMES = np.stack([scene(30, 44, seed) for seed in range(39)])


@pytest.fixture(scope="module")
def tokenizer() -> VisualTokenizer:
    return tiny_video_tokenizer_of()


@pytest.fixture(scope="module")
def service(tokenizer: VisualTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tokenizers") / "tiny-video"
    tokenizer.save_pretrained(folder)
    limits = {"VISTOK_MAX_CLIP_FRAMES": "40", "VISTOK_MAX_PIXELS": "10000", "VISTOK_MAX_CLIP_BYTES": "200000"}
    with started("--tokenizer", str(folder), "--device", "cpu", **limits) as running:
        yield running


def post(service: Service, body: object, query: str = "", headers: dict[str, str] = NPY) -> httpx.Response:
    return httpx.post(service.url + ENCODE + query, content=body, headers=headers, timeout=60)


def lines_of(answer: httpx.Response) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer.iter_lines()]


def test_an_array_has_the_tokens_of_the_library(service: Service, tokenizer: VisualTokenizer) -> None:
    answer = post(service, write_npy(FRAMES), headers=NPY | {"Accept": "application/vnd.vistok.tokens"})
    assert TokenGrid.from_bytes(answer.content) == encode_clip(tokenizer, FRAMES, USUAL_RATE)
    assert "vistok-warnings" not in answer.headers


def test_a_part_and_a_size_can_be_chosen(service: Service, tokenizer: VisualTokenizer) -> None:
    answer = post(service, write_npy(FRAMES), "?fps=5&start=0.2&max_frames=4&max_side=22").json()
    assert answer["pixels"] == {"height": 15, "width": 22, "frames": 4, "fps": 5.0}
    film = clip(list(FRAMES), "matroska", "ffv1", 25, pixels="bgr0")
    assert answer["ids"] != post(service, film, "?fps=5&max_frames=4&max_side=22").json()["ids"]


def test_one_picture_is_a_clip_of_one_frame(service: Service) -> None:
    as_array = post(service, write_npy(FRAMES[0])).json()
    as_picture = post(service, encoded(FRAMES[0]), headers={"Content-Type": "image/png"}).json()
    assert as_array == as_picture
    assert as_array["pixels"]["frames"] == 1


def test_an_array_among_several_files(service: Service, tokenizer: VisualTokenizer) -> None:
    files = [
        ("a", ("clip.npy", write_npy(FRAMES[:5]))),
        ("b", ("wrong.npy", write_npy(FRAMES[:5].astype(np.int16)), "application/x-npy")),
    ]
    whole, wrong = httpx.post(service.url + ENCODE, files=files, timeout=60).json()["items"]
    assert whole["ids"] == encode_clip(tokenizer, FRAMES[:5]).ids.tolist()
    assert wrong["error"]["code"] == "invalid_array"


def test_ids_come_while_the_array_is_still_arriving(service: Service, tokenizer: VisualTokenizer) -> None:
    data = write_npy(np.concatenate([FRAMES] * 3))  # more than an answer in one piece takes
    begun = figure(service, "vistok_device_seconds_count")

    def arriving() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        until(lambda: figure(service, "vistok_device_seconds_count") > begun + 1)
        yield data[len(data) // 2 :]

    with httpx.stream("POST", service.url + ENCODE, content=arriving(), headers=LINES, timeout=60) as answer:
        *pieces, end = lines_of(answer)
    assert end == {"end": 30, "frames": 117, "warnings": []}
    ids = np.concatenate([piece["ids"] for piece in pieces])
    assert np.array_equal(ids, encode_clip(tokenizer, np.concatenate([FRAMES] * 3)).ids)


@pytest.mark.parametrize("headers", [NPY, LINES], ids=["whole", "lines"])
def test_of_a_cut_array_the_frames_count_that_came_whole(
    service: Service, tokenizer: VisualTokenizer, headers: dict[str, str]
) -> None:
    answer = post(service, write_npy(FRAMES)[:-1], headers=headers)
    said = ["the array is cut short: of its 39 frames 38 came whole"]
    if headers is LINES:
        *pieces, end = lines_of(answer)
        assert (end["frames"], end["warnings"]) == (38, said)
        ids = np.concatenate([piece["ids"] for piece in pieces])
    else:
        assert json.loads(answer.headers["vistok-warnings"]) == said
        ids = np.array(answer.json()["ids"])
    assert np.array_equal(ids, encode_clip(tokenizer, FRAMES[:-1]).ids)


def promised(*shape: int) -> bytes:
    return npy_header(shape, np.dtype(np.uint8)) + bytes(5000)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (write_npy(FRAMES.astype(np.float32)[:5]), 422, "invalid_array"),
        (write_npy(np.asfortranarray(FRAMES)), 422, "invalid_array"),
        (write_npy(FRAMES[..., :2]), 422, "invalid_shape"),
        (write_npy(FRAMES)[:100], 422, "invalid_array"),
        (promised(1, 30, 44, 3)[:4000], 422, "invalid_array"),
        (promised(1, 30, 44, 3), 422, "invalid_array"),
        (promised(3, 200, 100, 3), 413, "too_large"),
        (promised(41, 30, 44, 3), 413, "too_large"),
        (write_npy(np.zeros((30, 60, 60, 3), np.uint8)), 413, "too_large"),
    ],
    ids=["floats", "order", "colours", "header", "cut", "longer", "pixels", "frames", "bytes"],
)
def test_what_is_refused(service: Service, body: bytes, status: int, code: str) -> None:
    answer = post(service, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_what_is_wrong_at_the_end_is_the_last_line(service: Service) -> None:
    *pieces, end = lines_of(post(service, write_npy(FRAMES) + b"\0", headers=LINES))
    assert pieces
    assert end["error"]["code"] == "invalid_array"


def test_tokens_become_an_array(service: Service, tokenizer: VisualTokenizer) -> None:
    grid = encode_clip(tokenizer, FRAMES)
    headers = {"Content-Type": "application/vnd.vistok.tokens", "Accept": "application/x-npy"}
    answer = httpx.post(service.url + DECODE, content=grid.to_bytes(), headers=headers, timeout=60)
    expected = np.stack(list(decode_clip(tokenizer, grid)))
    assert answer.headers["content-type"] == "application/x-npy"
    assert answer.content == write_npy(expected)
    url = f"{service.url}/v1/tokenizers/tiny/reconstruction?tokens={grid.to_base64url()}"
    assert httpx.get(url, headers=headers, timeout=60).content == answer.content
