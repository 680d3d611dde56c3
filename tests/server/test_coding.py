"""Pictures to grids and back over HTTP, as a caller sees them."""

import asyncio
from io import BytesIO

import httpx
import numpy as np
import pytest

from tests.server.conftest import encoded, picture, pixels_of, until_waiting
from tests.server.fakes import BrightnessTokenizer
from vistok_protocol import media_types
from vistok_protocol.npy import read_npy, write_npy
from vistok_protocol.schemas import EncodedGrid, Items
from vistok_protocol.tokens import TokenGrid

ENCODE = "/v1/tokenizers/fake/encode"
DECODE = "/v1/tokenizers/fake/decode"
PNG = {"Content-Type": "image/png"}


def half_white() -> np.ndarray:
    return np.concatenate([picture(8, 4, 0), picture(8, 6, 255)], axis=1)


async def test_encode_answers_with_the_grid_in_the_size_that_was_sent(client: httpx.AsyncClient) -> None:
    response = await client.post(ENCODE, content=encoded(half_white()), headers=PNG)
    assert response.status_code == 200, response.text
    body = response.json()
    tokens = body.pop("tokens")
    assert body == {
        "tokenizer": "fake",
        "fingerprint": "0123456789abcdef" * 2,
        "kind": "image",
        "shape": [2, 3],
        "vocabulary_size": 16,
        "pixels": {"height": 8, "width": 10},
        "ids": [[0, 15, 15], [0, 15, 15]],
    }
    assert EncodedGrid.model_validate(response.json()).to_grid() == TokenGrid.from_base64url(tokens)


async def test_encode_answers_with_token_bytes_or_an_array_when_asked(client: httpx.AsyncClient) -> None:
    async def answer(accept: str) -> httpx.Response:
        headers = PNG | {"Accept": accept}
        return await client.post(ENCODE, content=encoded(half_white()), headers=headers)

    tokens, array = await answer(media_types.TOKENS), await answer(media_types.NPY)
    assert tokens.headers["content-type"] == media_types.TOKENS
    assert array.headers["content-type"] == media_types.NPY
    assert tokens.headers["vary"] == array.headers["vary"] == "Accept"
    ids = read_npy(array.content, max_elements=100)
    assert ids.tolist() == [[0, 15, 15], [0, 15, 15]]
    assert np.array_equal(TokenGrid.from_bytes(tokens.content).ids, ids)


async def test_the_nested_ids_can_be_left_out(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{ENCODE}?ids=false", content=encoded(picture()), headers=PNG)
    assert "ids" not in response.json()
    assert response.json()["tokens"]


async def test_an_array_is_encoded_like_the_picture_it_holds(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": media_types.NPY}
    from_array = await client.post(ENCODE, content=write_npy(half_white()), headers=headers)
    from_png = await client.post(ENCODE, content=encoded(half_white()), headers=PNG)
    assert from_array.json() == from_png.json()


@pytest.mark.parametrize(
    ("query", "shape", "pixels"),
    [
        ("max_side=8", [2, 1], [8, 4]),
        ("size=12x12", [3, 3], [12, 6]),
        ("size=12x12&fit=crop", [3, 3], [12, 12]),
        ("size=12x8&fit=resize", [3, 2], [12, 8]),
        ("fit=crop", [4, 2], [16, 8]),
    ],
)
async def test_the_query_chooses_the_size(
    client: httpx.AsyncClient, query: str, shape: list[int], pixels: list[int]
) -> None:
    response = await client.post(f"{ENCODE}?{query}", content=encoded(picture(16, 8)), headers=PNG)
    assert response.json()["shape"] == shape
    assert list(response.json()["pixels"].values()) == pixels


async def test_several_files_answer_in_order_and_a_bad_one_spoils_none(client: httpx.AsyncClient) -> None:
    files = [
        ("a", ("black.png", encoded(picture(brightness=0)), "image/png")),
        ("b", ("notes.png", b"this is no picture", "image/png")),
        ("a", ("white.npy", write_npy(picture()), "application/octet-stream")),
        ("c", ("empty.png", b"", "image/png")),
        ("d", ("clip.mp4", b"....", "video/mp4")),
        ("d", ("white.webp", encoded(picture(4, 4), "webp"), "image/webp")),
    ]
    response = await client.post(ENCODE, files=files)
    assert response.status_code == 200
    items = response.json()["items"]
    assert [item["ids"][0][0] if "ids" in item else item["error"]["code"] for item in items] == [
        0,
        "unreadable_media",
        15,
        "empty_body",
        "unsupported_media_type",
        15,
    ]
    assert items[1]["error"]["request_id"] == response.headers["x-request-id"]
    assert len(Items.model_validate(response.json()).items) == 6


async def test_what_encode_answered_decodes_whole_or_in_part(client: httpx.AsyncClient) -> None:
    grid = (await client.post(ENCODE, content=encoded(half_white()), headers=PNG)).json()
    for body in (grid, {"tokens": grid["tokens"]}, {"ids": grid["ids"], "pixels": grid["pixels"]}):
        response = await client.post(DECODE, json=body)
        assert response.headers["content-type"] == "image/png"
        assert np.array_equal(pixels_of(response.content), half_white())


async def test_bare_ids_decode_to_all_that_they_cover(client: httpx.AsyncClient) -> None:
    from_json = await client.post(DECODE, json={"ids": [[0, 15]]})
    headers = {"Content-Type": media_types.NPY}
    from_array = await client.post(DECODE, content=write_npy(np.array([[0, 15]], np.uint8)), headers=headers)
    assert from_json.content == from_array.content
    assert pixels_of(from_json.content).shape == (4, 8, 3)


@pytest.mark.parametrize("media_type", ["image/png", "image/webp", "image/jpeg", media_types.NPY])
async def test_a_picture_comes_in_the_type_that_was_asked_for(
    client: httpx.AsyncClient, media_type: str
) -> None:
    response = await client.post(DECODE, json={"ids": [[15]]}, headers={"Accept": media_type})
    assert response.headers["content-type"] == media_type
    if media_type == media_types.NPY:
        decoded = np.load(BytesIO(response.content))
    else:
        decoded = pixels_of(response.content)
    assert decoded.shape == (4, 4, 3)
    assert decoded.min() >= 250


async def test_a_reconstruction_is_a_picture_for_caches(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokens = (await client.post(ENCODE, content=encoded(half_white()), headers=PNG)).json()["tokens"]
    url = f"/v1/tokenizers/fake/reconstruction?tokens={tokens}"
    first = await client.get(url)
    assert np.array_equal(pixels_of(first.content), half_white())
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    etag = first.headers["etag"]
    ran = len(tokenizer.batches)
    for header in (etag, f'"other", W/{etag}', "*"):
        again = await client.get(url, headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert len(tokenizer.batches) == ran
    head = await client.head(url)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)
    assert head.headers["content-length"] == first.headers["content-length"]
    as_webp = await client.get(url, headers={"Accept": "image/webp", "If-None-Match": etag})
    assert as_webp.status_code == 200
    assert as_webp.headers["etag"] != etag


async def test_reconstruct_measures_the_round_trip(client: httpx.AsyncClient) -> None:
    url = "/v1/tokenizers/fake/reconstruct"
    exact = await client.post(url, content=encoded(half_white()), headers=PNG)
    assert np.array_equal(pixels_of(exact.content), half_white())
    assert exact.headers[media_types.PSNR] == "inf"
    # Six ids of four bits for eighty pixels.
    assert exact.headers[media_types.BITS_PER_PIXEL] == "0.3000"
    grey = await client.post(url, content=encoded(picture(brightness=124)), headers=PNG)
    # Level 7 of 15 is 119: five steps away.
    assert grey.headers[media_types.PSNR] == f"{20 * np.log10(255 / 5):.2f}"


async def test_features_quantize_to_the_ids_that_lookup_takes(client: httpx.AsyncClient) -> None:
    features = np.linspace(-1, 1, 2 * 4 * 5, dtype=np.float32).reshape(2, 1, 4, 5).repeat(3, axis=1)
    headers = {"Content-Type": media_types.NPY}
    quantize, lookup = "/v1/tokenizers/fake/quantize", "/v1/tokenizers/fake/lookup"
    answer = await client.post(quantize, content=write_npy(features), headers=headers)
    body = answer.json()
    assert body["shape"] == [2, 4, 5]
    assert (body["vocabulary_size"], body["tokenizer"]) == (16, "fake")
    assert body["fingerprint"] == "0123456789abcdef" * 2
    as_array = await client.post(
        quantize,
        content=write_npy(features.astype(np.float16)),
        headers=headers | {"Accept": media_types.NPY},
    )
    assert read_npy(as_array.content, max_elements=100).tolist() == body["ids"]
    from_json = await client.post(lookup, json={"ids": body["ids"]})
    from_array = await client.post(lookup, content=as_array.content, headers=headers)
    codes = read_npy(from_json.content, max_elements=1000)
    assert codes.shape == features.shape
    assert codes.dtype == np.float32
    assert np.abs(codes - features).max() <= 1 / 15 + 1e-6
    assert from_array.content == from_json.content


async def test_concurrent_calls_share_batches_and_keep_their_own_answers(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    first = asyncio.create_task(client.post(ENCODE, content=encoded(picture(8, 8)), headers=PNG))
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    calls = [
        asyncio.create_task(client.post(ENCODE, content=encoded(picture(4, side, level * 17)), headers=PNG))
        for level in range(16)
        for side in (4, 8)
    ]
    await until_waiting(client, 32)
    tokenizer.open.set()
    assert (await first).status_code == 200
    answers = [response.json()["ids"] for response in await asyncio.gather(*calls)]
    assert answers == [[[level] * (side // 4)] for level in range(16) for side in (4, 8)]
    assert [shape[0] for _, shape in tokenizer.batches] == [1, 16, 16]
