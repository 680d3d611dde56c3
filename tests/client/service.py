"""A service without torch or sockets: what a client sends is kept, what it gets can be scripted.

Its tokenizer has one id for 8 x 8 pixels, their mean grey, and decodes it to that grey. Of a clip it takes
frames as an array, which have ids each; as MP4 it gives their token bytes.
"""

import hashlib
import io
from collections.abc import Callable

import httpx
import numpy as np
from PIL import Image

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import read_npy, write_npy
from vistok_protocol.schemas import (
    EncodedGrid,
    FailedItem,
    Items,
    Problem,
    StoredGrid,
    TokenizerInfo,
    TokenizerList,
)
from vistok_protocol.tokens import PixelSize, TokenGrid

FACTOR = 8
FINGERPRINT = "ab" * 16
INFO = TokenizerInfo(
    name="grey",
    kind="image",
    quantizer="mean",
    vocabulary_size=256,
    codebooks=1,
    latent_dim=1,
    spatial_factor=FACTOR,
    fingerprint=FINGERPRINT,
    licence="Apache-2.0",
    parameters=0,
)


class Service:
    """Answers requests; `script` holds what comes before the real answers: responses and exceptions."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []
        self.grids: dict[str, bytes] = {}
        self.transport = httpx.MockTransport(self._answer)

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.script:
            scripted = self.script.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        try:
            if request.url.path.startswith("/v1/grids"):
                return keep(request, self.grids)
            return route(request)
        except VistokError as error:
            return problem(error.code, error.detail, request_id(request))


def problem(code: ErrorCode, detail: str = "", request_id: str = "r", **headers: str) -> httpx.Response:
    body = Problem.from_error(VistokError(code, detail), request_id).body()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(code.status, json=body, headers={"Content-Type": media_types.PROBLEM, **named})


def request_id(request: httpx.Request) -> str:
    return request.headers[media_types.REQUEST_ID]


def route(request: httpx.Request) -> httpx.Response:
    operations: dict[str, Callable[[httpx.Request], httpx.Response]] = {
        "/v1/tokenizers": lambda _: httpx.Response(200, json=TokenizerList(tokenizers=[INFO]).body()),
        "/v1/tokenizers/grey": lambda _: httpx.Response(200, json=INFO.body()),
        "/v1/tokenizers/grey/encode": encode,
        "/v1/tokenizers/grey/decode": decode,
        "/v1/tokenizers/grey/reconstruct": reconstruct,
        "/v1/tokenizers/grey/quantize": quantize,
        "/v1/tokenizers/grey/lookup": lookup,
    }
    if request.url.path not in operations:
        raise VistokError(ErrorCode.TOKENIZER_NOT_FOUND, f"there is no {request.url.path}")
    return operations[request.url.path](request)


def keep(request: httpx.Request, grids: dict[str, bytes]) -> httpx.Response:
    if request.method == "PUT":
        assert request.headers["content-type"] == media_types.TOKENS
        identity = hashlib.sha256(request.content).hexdigest()
        grids[identity] = request.content
        return httpx.Response(201, json=StoredGrid(id=identity).body())
    identity = request.url.path.removeprefix("/v1/grids/")
    if identity not in grids:
        raise VistokError(ErrorCode.GRID_NOT_FOUND, f"there is no {identity}")
    return httpx.Response(200, content=grids[identity])


def encode(request: httpx.Request) -> httpx.Response:
    content_type = request.headers["content-type"]
    if not content_type.startswith("multipart/"):
        assert request.headers["accept"] == media_types.TOKENS
        return httpx.Response(200, content=grid_of(request.content, content_type).to_bytes())
    items: list[EncodedGrid | FailedItem] = []
    for part_type, content in parts_of(request):
        try:
            items.append(EncodedGrid.from_grid(grid_of(content, part_type), include_ids=False))
        except VistokError as error:
            items.append(FailedItem(error=Problem.from_error(error, request_id(request))))
    return httpx.Response(200, json=Items(items=items).body())


def decode(request: httpx.Request) -> httpx.Response:
    if request.headers["content-type"] == media_types.TOKENS:
        grid = TokenGrid.from_bytes(request.content)
        if grid.fingerprint != FINGERPRINT and request.url.params.get("any_fingerprint") != "true":
            raise VistokError(ErrorCode.FINGERPRINT_MISMATCH, "other weights")
    else:
        ids = read_npy(request.content, max_elements=10_000)
        grid = make_grid(ids, PixelSize(FACTOR * ids.shape[0], FACTOR * ids.shape[1]))
    if grid.kind == "video":
        return clip_answer(request, grid)
    return picture_answer(request, grid, {})


def reconstruct(request: httpx.Request) -> httpx.Response:
    grid = grid_of(request.content, request.headers["content-type"])
    return picture_answer(request, grid, {media_types.PSNR: "inf", media_types.BITS_PER_PIXEL: "0.1250"})


def quantize(request: httpx.Request) -> httpx.Response:
    features = read_npy(request.content, max_elements=10_000)
    return httpx.Response(200, content=write_npy(features[:, 0].astype(np.int64)))


def lookup(request: httpx.Request) -> httpx.Response:
    ids = read_npy(request.content, max_elements=10_000)
    return httpx.Response(200, content=write_npy(ids[:, None].astype(np.float32)))


def grid_of(content: bytes, media_type: str) -> TokenGrid:
    pixels = pixels_of(content, media_type)
    if pixels.ndim == 4:
        return clip_grid(np.stack([ids_of(frame) for frame in pixels]), pixels.shape)
    return make_grid(ids_of(pixels), PixelSize(*pixels.shape[:2]))


def ids_of(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels.mean(axis=2), ((0, -height % FACTOR), (0, -width % FACTOR)), mode="edge")
    rows, columns = padded.shape[0] // FACTOR, padded.shape[1] // FACTOR
    return padded.reshape(rows, FACTOR, columns, FACTOR).mean(axis=(1, 3)).astype(np.int64)


def clip_grid(ids: np.ndarray, shape: tuple[int, ...]) -> TokenGrid:
    frames, height, width = shape[:3]
    return TokenGrid(ids, "grey", FINGERPRINT, "video", 256, PixelSize(height, width, frames, 25))


def make_grid(ids: np.ndarray, size: PixelSize) -> TokenGrid:
    return TokenGrid(ids, "grey", FINGERPRINT, "image", 256, size)


def pixels_of(content: bytes, media_type: str) -> np.ndarray:
    if media_type == media_types.NPY:
        return read_npy(content, max_elements=10_000_000)
    try:
        with Image.open(io.BytesIO(content)) as image:
            assert Image.MIME[image.format or ""] == media_type
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise VistokError(ErrorCode.UNREADABLE_MEDIA, "this is no picture") from error


def shown(ids: np.ndarray, size: PixelSize) -> np.ndarray:
    grey = np.kron(ids, np.ones((FACTOR, FACTOR))).astype(np.uint8)
    return np.repeat(grey[: size.height, : size.width, None], 3, axis=2)


def clip_answer(request: httpx.Request, grid: TokenGrid) -> httpx.Response:
    media_type = request.headers["accept"]
    frames = np.stack([shown(ids, grid.pixels) for ids in grid.ids])
    content = write_npy(frames) if media_type == media_types.NPY else grid.to_bytes()
    return httpx.Response(200, content=content, headers={"Content-Type": media_type})


def picture_answer(request: httpx.Request, grid: TokenGrid, headers: dict[str, str]) -> httpx.Response:
    pixels = shown(grid.ids, grid.pixels)
    if request.headers["accept"] == media_types.NPY:
        return httpx.Response(200, content=write_npy(pixels), headers=headers)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return httpx.Response(200, content=stream.getvalue(), headers=headers)


def parts_of(request: httpx.Request) -> list[tuple[str, bytes]]:
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = []
    for part in request.content.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        assert b"filename=" in head
        parts.append((head.partition(b"Content-Type: ")[2].decode(), content.removesuffix(b"\r\n")))
    return parts
