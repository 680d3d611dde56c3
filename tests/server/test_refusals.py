"""Bad input: each is answered quickly with a stable code and a sentence, and the service goes on."""

import struct
import zlib
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest

from tests.server.conftest import Serve, encoded, picture
from tests.server.fakes import BrightnessTokenizer
from vistok_protocol import media_types
from vistok_protocol.npy import write_npy
from vistok_protocol.tokens import PixelSize, TokenGrid

BASE = "/v1/tokenizers/fake"
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
TOKENS = {"Content-Type": media_types.TOKENS}
NPY = {"Content-Type": media_types.NPY}


def huge_png() -> bytes:
    """A PNG of 30,000 x 30,000 whose pixels, were anybody to unpack them, are all zero."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def noise_jpeg() -> bytes:
    return encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "jpeg")


def grid(ids: object = ((1, 2),), fingerprint: str = BrightnessTokenizer.fingerprint) -> TokenGrid:
    array = np.array(ids)
    size = PixelSize(4 * array.shape[0], 4 * array.shape[1])
    return TokenGrid(array, "fake", fingerprint, "image", 16, size)


def flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 0x10]) + data[-5:]


def npy_claiming(shape: str, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@dataclass
class Call:
    path: str
    status: int
    code: str
    says: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(PNG))
    method: str = "POST"


WHITE = encoded(picture())
CALLS = {
    "truncated JPEG": Call("/encode", 422, "unreadable_media", "damaged", noise_jpeg()[:900]),
    "text sent as PNG": Call("/encode", 422, "unreadable_media", "expected a picture", b"Dear reader,"),
    "zero bytes": Call("/encode", 400, "empty_body", "zero bytes"),
    "huge PNG": Call("/encode", 413, "too_large", "64000000 pixels", huge_png()),
    "a body of text/plain": Call(
        "/encode", 415, "unsupported_media_type", "text/plain", WHITE, {"Content-Type": "text/plain"}
    ),
    "a video for an image tokenizer": Call(
        "/encode", 415, "unsupported_media_type", "video/mp4", WHITE, {"Content-Type": "video/mp4"}
    ),
    "a compressed body": Call(
        "/encode", 415, "unsupported_media_type", "gzip", WHITE, PNG | {"Content-Encoding": "gzip"}
    ),
    "an answer nobody has": Call(
        "/encode", 406, "not_acceptable", "text/html", WHITE, PNG | {"Accept": "text/html"}
    ),
    "fit=banana": Call("/encode?fit=banana", 400, "invalid_request", "banana", WHITE),
    "size=0x9999999": Call("/encode?size=0x9999999", 400, "invalid_request", "0x9999999", WHITE),
    "max_side=-1": Call("/encode?max_side=-1", 400, "invalid_request", "-1", WHITE),
    "ids=perhaps": Call("/encode?ids=perhaps", 400, "invalid_request", "perhaps", WHITE),
    "a query nobody knows": Call("/encode?maxside=8", 400, "invalid_request", "maxside", WHITE),
    "an enormous size": Call("/encode?size=60000x60000", 413, "too_large", "60000 x 60000", WHITE),
    "a float array as a picture": Call(
        "/encode", 422, "invalid_shape", "float32", write_npy(np.zeros((8, 8, 3), np.float32)), NPY
    ),
    "a picture of four channels": Call(
        "/encode", 422, "invalid_shape", "(8, 8, 4)", write_npy(np.zeros((8, 8, 4), np.uint8)), NPY
    ),
    "an array that claims too much": Call(
        "/encode", 422, "invalid_array", "(70000, 70000, 3)", npy_claiming("(70000, 70000, 3)", "|u1"), NPY
    ),
    "an array header that is a bomb": Call(
        "/encode", 422, "invalid_array", ".npy", npy_claiming("(" * 60_000, "|u1"), NPY
    ),
    "an array of Python objects": Call(
        "/encode", 422, "invalid_array", "object", npy_claiming("(1,)", "|O") + b"cos\nsystem\n.", NPY
    ),
    "an id out of range": Call(
        "/decode", 422, "id_out_of_range", "from 0 to 15", b'{"ids": [[1, 16]]}', JSON
    ),
    "a negative id": Call("/decode", 422, "id_out_of_range", "from 0 to 15", b'{"ids": [[-1, 2]]}', JSON),
    "an id of sixty-four bits": Call(
        "/decode", 422, "id_out_of_range", "longer number", b'{"ids": [[9223372036854775808]]}', JSON
    ),
    "an id of thirty digits": Call(
        "/decode", 400, "invalid_request", "1e+30", b'{"ids": [[1' + b"0" * 30 + b"]]}", JSON
    ),
    "ragged ids": Call("/decode", 422, "invalid_shape", "equal lengths", b'{"ids": [[1, 2], [3]]}', JSON),
    "ids of the wrong rank": Call(
        "/decode", 422, "invalid_shape", "(h w), got int64 (2,)", b'{"ids": [1, 2]}', JSON
    ),
    "a batch of ids to decode": Call(
        "/decode", 422, "invalid_shape", "(h w), got int64 (1, 1, 2)", b'{"ids": [[[1, 2]]]}', JSON
    ),
    "an array of fractions to decode": Call(
        "/decode", 422, "invalid_shape", "(h w), got float32 (2, 2)", write_npy(np.zeros((2, 2), "f4")), NPY
    ),
    "ids in another shape than they say": Call(
        "/decode", 400, "invalid_request", "'shape'", b'{"ids": [[1, 2]], "shape": [2, 1]}', JSON
    ),
    "ids of another vocabulary": Call(
        "/decode", 400, "invalid_request", "16, got 32", b'{"ids": [[1]], "vocabulary_size": 32}', JSON
    ),
    "ids of a video": Call(
        "/decode", 400, "invalid_request", "'kind'", b'{"ids": [[1]], "kind": "video"}', JSON
    ),
    "ids of a tokenizer of another name": Call(
        "/decode", 409, "fingerprint_mismatch", "other", b'{"ids": [[1]], "tokenizer": "other"}', JSON
    ),
    "ids with an empty fingerprint": Call(
        "/decode", 400, "invalid_tokens", "fingerprint", b'{"ids": [[1]], "fingerprint": ""}', JSON
    ),
    "no ids": Call("/decode", 422, "invalid_shape", "(1, 0)", b'{"ids": [[]]}', JSON),
    "ids that are fractions": Call("/decode", 400, "invalid_request", "1.5", b'{"ids": [[1.5, 2]]}', JSON),
    "ids that are words": Call("/decode", 400, "invalid_request", "'one'", b'{"ids": [["one"]]}', JSON),
    "pixels larger than the grid": Call(
        "/decode",
        422,
        "invalid_shape",
        "at most 4 x 4",
        b'{"ids": [[1]], "pixels": {"height": 9, "width": 4}}',
        JSON,
    ),
    "neither tokens nor ids": Call("/decode", 400, "invalid_request", "neither", b"{}", JSON),
    "a JSON list": Call("/decode", 400, "invalid_request", "[1]", b"[1]", JSON),
    "a key nobody knows": Call("/decode", 400, "invalid_request", "idz", b'{"idz": [[1]]}', JSON),
    "malformed JSON": Call("/decode", 400, "invalid_request", "JSON", b'{"ids": [[1, 2', JSON),
    "JSON that is no text": Call("/decode", 400, "invalid_request", "JSON", b"\xff\xfe\x00", JSON),
    "JSON nested a hundred thousand deep": Call(
        "/decode", 400, "invalid_request", "JSON", b'{"ids": ' + b"[" * 100_000, JSON
    ),
    "JSON nested nine hundred deep": Call(
        "/decode", 422, "invalid_shape", "expected ids", b'{"ids": ' + b"[" * 900 + b"]" * 900 + b"}", JSON
    ),
    "tokens and ids that disagree": Call(
        "/decode",
        400,
        "invalid_tokens",
        "disagree",
        b'{"ids": [[3, 4]], "tokens": "' + grid().to_base64url().encode() + b'"}',
        JSON,
    ),
    "token bytes with a flipped bit": Call(
        "/decode", 400, "invalid_tokens", "checksum", flipped(grid().to_bytes()), TOKENS
    ),
    "token bytes cut short": Call("/decode", 400, "invalid_tokens", "bytes", grid().to_bytes()[:-9], TOKENS),
    "a picture as token bytes": Call("/decode", 400, "invalid_tokens", "not token bytes", WHITE, TOKENS),
    "foreign token bytes": Call(
        "/decode",
        409,
        "fingerprint_mismatch",
        "any_fingerprint",
        grid(fingerprint="f" * 32).to_bytes(),
        TOKENS,
    ),
    "foreign ids": Call(
        "/decode",
        409,
        "fingerprint_mismatch",
        "f" * 32,
        b'{"ids": [[1]], "fingerprint": "' + b"f" * 32 + b'"}',
        JSON,
    ),
    "more ids than the model takes": Call(
        "/decode", 413, "too_large", "ids", grid(np.zeros((2048, 2048), int)).to_bytes(), TOKENS
    ),
    "more ids in JSON than the model takes": Call(
        "/decode", 413, "too_large", "ids", b'{"ids": [[' + b"1," * 1_100_000 + b"1]]}", JSON
    ),
    "a picture to decode": Call("/decode", 415, "unsupported_media_type", "image/png", WHITE),
    "tokens in the URL that are none": Call(
        "/reconstruction?tokens=AAAA", 400, "invalid_tokens", "VSTK", method="GET"
    ),
    "tokens in the URL that are no base64url": Call(
        "/reconstruction?tokens=%00!", 400, "invalid_tokens", "base64url", method="GET"
    ),
    "too many tokens for a URL": Call(
        "/reconstruction?tokens=" + "A" * 64_001, 400, "invalid_request", "64000 characters", method="GET"
    ),
    "no tokens in the URL": Call("/reconstruction", 400, "invalid_request", "tokens", method="GET"),
    "features that are not numbers": Call(
        "/quantize", 422, "invalid_array", "NaN", write_npy(np.full((1, 3, 2, 2), np.nan, np.float32)), NPY
    ),
    "features of too many channels": Call(
        "/quantize", 422, "invalid_shape", "d = 3", write_npy(np.zeros((1, 5, 2, 2), np.float32)), NPY
    ),
    "features of whole numbers": Call(
        "/quantize", 422, "invalid_array", "int64", write_npy(np.zeros((1, 3, 2, 2), np.int64)), NPY
    ),
    "features that claim too much": Call(
        "/quantize", 422, "invalid_array", "elements", npy_claiming("(1, 3, 99999, 99999)"), NPY
    ),
    "features as JSON": Call("/quantize", 415, "unsupported_media_type", media_types.NPY, b"[]", JSON),
    "an id to look up out of range": Call(
        "/lookup", 422, "id_out_of_range", "16", b'{"ids": [[[16]]]}', JSON
    ),
    "ids to look up without a batch": Call(
        "/lookup", 422, "invalid_shape", "(b h w)", b'{"ids": [[1]]}', JSON
    ),
    "fractions to look up": Call(
        "/lookup", 422, "invalid_shape", "whole numbers", write_npy(np.zeros((1, 2, 2), np.float32)), NPY
    ),
    "several files to reconstruct": Call(
        "/reconstruct",
        415,
        "unsupported_media_type",
        "multipart",
        WHITE,
        {"Content-Type": "multipart/form-data"},
    ),
    "multipart without a boundary": Call(
        "/encode", 400, "invalid_request", "boundary", WHITE, {"Content-Type": "multipart/form-data"}
    ),
    "multipart that is none": Call(
        "/encode",
        400,
        "invalid_request",
        "multipart",
        WHITE,
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "multipart without files": Call(
        "/encode",
        400,
        "empty_body",
        "no file",
        b"--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "multipart of zero bytes": Call(
        "/encode", 400, "empty_body", "no file", b"", {"Content-Type": "multipart/form-data; boundary=x"}
    ),
    "multipart with a field": Call(
        "/encode",
        400,
        "invalid_request",
        "fields",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "a query for a call without one": Call("/quantize?ids=false", 400, "invalid_request", "ids"),
    "a query for a description": Call("?verbose=1", 400, "invalid_request", "verbose", method="GET"),
    "a wrong method": Call("/encode", 405, "method_not_allowed", "GET", method="GET"),
    "an unknown path": Call("/transmogrify", 404, "not_found", "transmogrify"),
}


def assert_problem(response: httpx.Response, status: int, code: str, says: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, media_types.PROBLEM), (
        response.text
    )
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert says in problem["detail"]
    assert len(problem["detail"]) < 500
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_bad_input_is_refused_and_the_service_unharmed(client: httpx.AsyncClient, call: Call) -> None:
    response = await client.request(call.method, BASE + call.path, content=call.content, headers=call.headers)
    assert_problem(response, call.status, call.code, call.says)
    good = await client.post(f"{BASE}/encode", content=WHITE, headers=PNG)
    assert good.json()["ids"] == [[15, 15], [15, 15]]


async def test_an_unknown_tokenizer_is_answered_with_those_there_are(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/tokenizers/nobody/encode", content=WHITE, headers=PNG)
    assert_problem(response, 404, "tokenizer_not_found", "there are: fake")
    assert_problem(await client.get("/v1/tokenizers/nobody"), 404, "tokenizer_not_found", "nobody")


async def test_a_wrong_method_says_which_are_right(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{BASE}/encode")).headers["allow"] == "POST"


async def test_foreign_ids_decode_on_explicit_request(client: httpx.AsyncClient) -> None:
    foreign = grid(fingerprint="f" * 32).to_bytes()
    response = await client.post(f"{BASE}/decode?any_fingerprint=true", content=foreign, headers=TOKENS)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")


async def test_any_fingerprint_forgives_the_tokenizer_and_nothing_else(client: httpx.AsyncClient) -> None:
    url = f"{BASE}/decode?any_fingerprint=true"
    foreign = {"ids": [[1]], "tokenizer": "other", "fingerprint": "f" * 32}
    assert (await client.post(url, json=foreign)).status_code == 200
    assert_problem(await client.post(url, json=foreign | {"shape": [1, 2]}), 400, "invalid_request", "[1, 1]")


async def test_multipart_that_is_cut_short_is_refused_as_a_whole(client: httpx.AsyncClient) -> None:
    url, files = f"{BASE}/encode", [("a", ("a.png", WHITE, "image/png"))] * 2
    whole = client.build_request("POST", url, files=files)
    content, headers = whole.read(), {"Content-Type": whole.headers["content-type"]}
    closing = content.rindex(b"\r\n--")
    for end in (60, content.index(WHITE) + 20, content.rindex(WHITE) + 20, closing, closing + 6):
        cut = await client.post(url, content=content[:end], headers=headers)
        assert_problem(cut, 400, "invalid_request", "the multipart body is cut short")
    bare_end = await client.post(url, content=content.removesuffix(b"\r\n"), headers=headers)
    assert len(bare_end.json()["items"]) == 2


async def test_a_body_that_announces_too_much_is_not_read(serve: Serve) -> None:
    client = await serve(max_body_bytes=1000)
    read = 0

    async def body():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(100):
            read += 100
            yield bytes(100)

    announced = await client.post(f"{BASE}/encode", content=body(), headers=PNG | {"Content-Length": "10000"})
    assert_problem(announced, 413, "too_large", "10000 bytes are announced")
    assert read <= 300


async def test_a_body_without_a_length_is_cut_off_at_the_limit(serve: Serve) -> None:
    client = await serve(max_body_bytes=1000)
    read = 0

    async def body():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(100):
            read += 100
            yield bytes(100)

    streamed = await client.post(f"{BASE}/encode", content=body(), headers=PNG)
    assert_problem(streamed, 413, "too_large", "1000 bytes")
    assert read <= 1500


async def test_multipart_has_limits_of_its_own(serve: Serve) -> None:
    client = await serve(max_files=2, max_body_bytes=1000, max_multipart_bytes=4000)
    small, large = (
        encoded(picture(4, 4)),
        encoded(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)),
    )
    three = await client.post(f"{BASE}/encode", files=[("f", ("a.png", small, "image/png"))] * 3)
    assert_problem(three, 400, "invalid_request", "Maximum number of files is 2")
    mixed = await client.post(
        f"{BASE}/encode", files=[("f", ("a.png", small, "image/png")), ("f", ("b.png", large, "image/png"))]
    )
    assert mixed.json()["items"][0]["ids"] == [[15]]
    assert mixed.json()["items"][1]["error"]["code"] == "too_large"
    whole = await client.post(f"{BASE}/encode", files=[("f", ("b.png", large, "image/png"))] * 2)
    assert_problem(whole, 413, "too_large", "4000 bytes")


async def test_a_picture_over_the_limit_of_pixels_is_refused_by_its_header(serve: Serve) -> None:
    client = await serve(max_pixels=100)
    response = await client.post(f"{BASE}/encode", content=encoded(picture(11, 10)), headers=PNG)
    assert_problem(response, 413, "too_large", "11 x 10")


async def test_a_fault_of_ours_is_answered_without_its_secrets(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("vistok_server.tokens_in.check_ids", fail)
    response = await client.post(f"{BASE}/decode", json={"ids": [[1]]})
    assert_problem(response, 500, "internal", "request id")
    assert "secret" not in response.text
