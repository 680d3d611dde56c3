"""Grids that are kept: put, fetched, shown, and gone when there is no room."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_tokenizer_of, tiny_video_tokenizer_of
from tests.pictures import scene
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.clips import encode_clip
from vistok.config import TokenizerConfig
from vistok.grids import decode_grid, encode_picture
from vistok_protocol.tokens import TokenGrid

TOKENS = "application/vnd.vistok.tokens"
PICTURE = encode_picture(tiny_tokenizer_of(), scene(40, 56))
LIMIT = 4000


def video_tokenizer() -> VisualTokenizer:
    """Make one that can be served beside the other."""
    tokenizer = tiny_video_tokenizer_of()
    config = TokenizerConfig.model_validate(tokenizer.config.model_dump() | {"name": "tiny-video"})
    renamed = VisualTokenizer(config)
    renamed.load_state_dict(tokenizer.state_dict())
    return renamed


CLIP = encode_clip(video_tokenizer(), [scene(40, 56, seed) for seed in range(9)])


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tokenizers")
    tiny_tokenizer_of().save_pretrained(folder / "tiny")
    video_tokenizer().save_pretrained(folder / "tiny-video")
    return ["--tokenizer", str(folder / "tiny"), "--tokenizer", str(folder / "tiny-video"), "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grids") / "kept"


@pytest.fixture(scope="module")
def service(tokenizers: list[str], folder: Path) -> Iterator[Service]:
    limits = {"VISTOK_MAX_GRID_BYTES": str(LIMIT), "VISTOK_TORCH_THREADS": "1024"}
    with started(*tokenizers, VISTOK_GRID_FOLDER=str(folder), **limits) as running:
        yield running


def put(service: Service, body: bytes, **headers: str) -> httpx.Response:
    headers = {"Content-Type": TOKENS} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.put(f"{service.url}/v1/grids", content=body, headers=headers, timeout=60)


def get(service: Service, path: str, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{service.url}/v1/grids/{path}", headers=headers, timeout=60)


def id_of(grid: TokenGrid) -> str:
    return hashlib.sha256(grid.to_bytes()).hexdigest()


def other(seed: int) -> TokenGrid:
    """Give one of many grids of some hundred bytes."""
    ids = np.random.default_rng(seed).integers(0, 60, (16, 16))
    return TokenGrid(ids, "tiny", PICTURE.fingerprint, "image", 60, type(PICTURE.pixels)(128, 128))


def test_a_grid_is_kept_under_the_digest_of_its_bytes(service: Service) -> None:
    new, known = put(service, PICTURE.to_bytes()), put(service, PICTURE.to_bytes())
    assert (new.status_code, known.status_code) == (201, 200)
    assert new.json() == known.json() == {"id": id_of(PICTURE)}
    assert new.headers["location"] == f"/v1/grids/{id_of(PICTURE)}"
    answer = httpx.get(service.url + new.headers["location"])
    assert answer.content == PICTURE.to_bytes()
    assert answer.headers["content-type"] == TOKENS
    assert answer.headers["etag"] == f'"{id_of(PICTURE)}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    again = get(service, id_of(PICTURE), If_None_Match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    head = httpx.head(f"{service.url}/v1/grids/{id_of(PICTURE)}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(PICTURE.to_bytes()))


def test_what_a_kept_picture_shows(service: Service) -> None:
    put(service, PICTURE.to_bytes())
    path = f"{id_of(PICTURE)}/reconstruction"
    answer = get(service, path)
    with Image.open(BytesIO(answer.content)) as shown:
        assert np.array_equal(shown, decode_grid(tiny_tokenizer_of(), PICTURE))
    etag = answer.headers["etag"]
    assert get(service, path, If_None_Match=etag).status_code == 304
    assert get(service, path, Accept="image/webp", If_None_Match=etag).headers["content-type"] == "image/webp"
    assert get(service, path, Accept="video/mp4").status_code == 406
    head = httpx.head(f"{service.url}/v1/grids/{path}")
    assert (head.status_code, head.headers["etag"]) == (200, etag)


def test_what_a_kept_clip_shows(service: Service) -> None:
    put(service, CLIP.to_bytes())
    path = f"{id_of(CLIP)}/reconstruction"
    stream, part = get(service, path), get(service, path, Range="bytes=0-")
    assert (stream.status_code, part.status_code) == (200, 206)
    assert stream.headers["etag"] == part.headers["etag"]
    assert stream.content == part.content
    with av.open(BytesIO(part.content)) as opened:
        assert len(list(opened.decode(video=0))) == 9
    array = np.load(BytesIO(get(service, path, Accept="application/x-npy").content))
    assert np.array_equal(array, decode_grid(video_tokenizer(), CLIP))


@pytest.mark.parametrize(
    "path",
    ["0" * 64, "0" * 63, "F" * 64, "abc", "..%2F..%2Fetc%2Fpasswd", "%2e%2e", "0" * 64 + "%00", "g" * 64],
)
@pytest.mark.parametrize("tail", ["", "/reconstruction"])
def test_other_ids_are_not_found(service: Service, path: str, tail: str) -> None:
    answer = get(service, path + tail)
    assert (answer.status_code, answer.json()["code"]) in ((404, "grid_not_found"), (404, "not_found"))
    if len(path) == 64:
        assert answer.json()["code"] == "grid_not_found"
        assert path in answer.json()["detail"]


def renamed(grid: TokenGrid, **changes: str) -> bytes:
    fields = {"tokenizer": grid.tokenizer, "fingerprint": grid.fingerprint} | changes
    return TokenGrid(
        grid.ids, kind=grid.kind, vocabulary_size=grid.vocabulary_size, pixels=grid.pixels, **fields
    ).to_bytes()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"no tokens at all", 400, "invalid_tokens"),
        (PICTURE.to_bytes()[:-1], 400, "invalid_tokens"),
        (PICTURE.to_bytes()[:-1] + b"\xff", 400, "invalid_tokens"),
        (renamed(PICTURE, tokenizer="nobody"), 404, "tokenizer_not_found"),
        (renamed(PICTURE, fingerprint="0" * 32), 409, "fingerprint_mismatch"),
        (renamed(CLIP, tokenizer="tiny"), 409, "fingerprint_mismatch"),
        (encode_picture(tiny_tokenizer_of(), scene(600, 800)).to_bytes(), 413, "too_large"),
    ],
    ids=["nothing", "text", "cut", "damaged", "stranger", "weights", "name", "large"],
)
def test_what_is_no_grid_of_ours_is_not_kept(
    service: Service, folder: Path, body: bytes, status: int, code: str
) -> None:
    before = set(folder.iterdir())
    answer = put(service, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(folder.iterdir()) == before


def test_calls_are_as_all_others(service: Service) -> None:
    assert put(service, b"{}", Content_Type="application/json").status_code == 415
    assert put(service, PICTURE.to_bytes(), Accept="image/png").status_code == 406
    put(service, PICTURE.to_bytes())
    assert get(service, f"{id_of(PICTURE)}?fps=3").json()["code"] == "invalid_request"
    assert get(service, id_of(PICTURE), Accept="image/png").status_code == 406
    assert httpx.delete(f"{service.url}/v1/grids/{id_of(PICTURE)}").status_code == 405


def test_many_at_once(service: Service) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda seed: put(service, other(seed % 4).to_bytes()), range(32)))
    assert {answer.status_code for answer in answers} == {200, 201}
    assert {answer.json()["id"] for answer in answers} == {id_of(other(seed)) for seed in range(4)}
    for seed in range(4):
        assert get(service, id_of(other(seed))).content == other(seed).to_bytes()


def test_the_least_recently_used_make_room(service: Service, folder: Path) -> None:
    put(service, PICTURE.to_bytes())
    put(service, other(100).to_bytes())
    for seed in range(101, 101 + 2 * LIMIT // len(other(0).to_bytes())):
        assert put(service, other(seed).to_bytes()).status_code == 201
        assert get(service, id_of(PICTURE)).status_code == 200
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
    assert get(service, id_of(other(100))).json()["code"] == "grid_not_found"
    assert put(service, other(100).to_bytes()).status_code == 201


def test_a_damaged_file_is_as_if_it_were_not_there(service: Service, folder: Path) -> None:
    put(service, PICTURE.to_bytes())
    file = folder / id_of(PICTURE)
    for damaged in (b"", PICTURE.to_bytes()[:-1], PICTURE.to_bytes() + b"\0", other(0).to_bytes()):
        file.write_bytes(damaged)
        for tail in ("", "/reconstruction"):
            assert get(service, id_of(PICTURE) + tail).json()["code"] == "grid_not_found"
    assert put(service, PICTURE.to_bytes()).status_code == 201
    assert file.read_bytes() == PICTURE.to_bytes()


def test_grids_outlive_the_service_and_are_for_several(
    service: Service, tokenizers: list[str], folder: Path
) -> None:
    put(service, PICTURE.to_bytes())
    beside = ["--tokenizer", tokenizers[1], "--device", "cpu"]
    with started(*beside, VISTOK_GRID_FOLDER=str(folder)) as second:
        assert get(second, id_of(PICTURE)).content == PICTURE.to_bytes()
        put(second, other(7).to_bytes())
        # It does not serve what this grid is of.
        put(service, CLIP.to_bytes())
        assert get(second, id_of(CLIP)).content == CLIP.to_bytes()
        assert get(second, f"{id_of(CLIP)}/reconstruction").json()["code"] == "tokenizer_not_found"
    assert get(service, id_of(other(7))).content == other(7).to_bytes()


def test_a_folder_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    ended = subprocess.run(
        [sys.executable, "-m", "vistok", "serve", "--port", "0"],
        env={**os.environ, "VISTOK_GRID_FOLDER": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"vistok serve: cannot use {tmp_path}/file as grid_folder: ")
