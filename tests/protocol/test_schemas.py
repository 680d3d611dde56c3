"""JSON bodies: what is written is read back, and what disagrees is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from tests.protocol.grids import grids, image_grid, video_grid
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.nested_ids import read_nested_ids
from vistok_protocol.schemas import (
    DecodeRequest,
    EncodedGrid,
    FailedItem,
    Items,
    LookupRequest,
    Pixels,
    Problem,
    QuantizedIds,
    TokenizerInfo,
    TokenizerList,
)
from vistok_protocol.tokens import PixelSize, TokenGrid

INFO = TokenizerInfo(
    name="image-fsq-f8",
    kind="image",
    quantizer="FSQ",
    vocabulary_size=64_000,
    codebooks=1,
    latent_dim=6,
    spatial_factor=8,
    fingerprint="0" * 32,
    licence="Apache-2.0",
    parameters=1_000_000,
    quality={"psnr": 28.5},
)


@given(grid=grids())
@settings(deadline=None)
def test_a_grid_survives_json(grid: TokenGrid) -> None:
    for include_ids in (True, False):
        text = json.dumps(EncodedGrid.from_grid(grid, include_ids=include_ids).body())
        assert EncodedGrid.model_validate_json(text).to_grid() == grid
        assert DecodeRequest.model_validate_json(text).to_grid() == grid


def test_an_image_is_described_without_the_words_of_a_clip() -> None:
    body = EncodedGrid.from_grid(image_grid()).body()
    assert body == {
        "tokenizer": "demo",
        "fingerprint": "000102030405060708090a0b0c0d0e0f",
        "kind": "image",
        "shape": [2, 3],
        "vocabulary_size": 1000,
        "pixels": {"height": 5, "width": 9},
        "ids": [[1, 2, 3], [997, 998, 999]],
        "tokens": image_grid().to_base64url(),
    }
    assert "ids" not in EncodedGrid.from_grid(image_grid(), include_ids=False).body()


def test_a_clip_is_described_with_frames_and_rate() -> None:
    body = EncodedGrid.from_grid(video_grid()).body()
    assert body["shape"] == [2, 3, 4]
    assert body["pixels"] == {"height": 24, "width": 32, "frames": 5, "fps": 30000 / 1001}
    assert np.array(body["ids"]).shape == (2, 3, 4, 2)


CHANGES: list[dict[str, Any]] = [
    {"tokenizer": "other"},
    {"fingerprint": "f" * 32},
    {"kind": "video"},
    {"shape": [3, 2]},
    {"vocabulary_size": 1001},
    {"pixels": {"height": 5, "width": 8}},
    {"ids": [[1, 2, 3], [997, 998, 998]]},
    {"ids": [1, 2, 3, 997, 998, 999]},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("model", [EncodedGrid, DecodeRequest])
def test_a_field_that_disagrees_with_the_tokens_is_refused(
    model: type[EncodedGrid] | type[DecodeRequest], change: dict[str, Any]
) -> None:
    body = EncodedGrid.from_grid(image_grid()).body() | change
    with pytest.raises(VistokError, match="disagree") as caught:
        model.model_validate(body).to_grid()
    assert caught.value.code == ErrorCode.INVALID_TOKENS


def test_a_decode_request_may_be_ids_alone() -> None:
    request = DecodeRequest.model_validate({"ids": [[1, 2], [3, 4]], "pixels": {"height": 9, "width": 9}})
    assert request.to_grid() is None
    np.testing.assert_array_equal(request.to_ids(), [[1, 2], [3, 4]])
    assert request.to_ids().dtype == np.int64
    assert request.pixels is not None
    assert request.pixels.to_size() == PixelSize(9, 9)


def test_a_decode_request_without_anything_says_what_is_missing() -> None:
    with pytest.raises(VistokError, match="'tokens' or 'ids'"):
        DecodeRequest().to_ids()


@pytest.mark.parametrize("model", [DecodeRequest, LookupRequest])
def test_a_mistyped_key_is_refused(model: type[DecodeRequest]) -> None:
    with pytest.raises(ValidationError, match="idz"):
        model.model_validate({"ids": [[1]], "idz": [[1]]})


NOT_IDS: list[tuple[Any, ErrorCode]] = [
    ([], ErrorCode.INVALID_SHAPE),
    ([[]], ErrorCode.INVALID_SHAPE),
    ([[1, 2], [3]], ErrorCode.INVALID_SHAPE),
    ([1, [2]], ErrorCode.INVALID_SHAPE),
    ([[[[[[[[[1]]]]]]]]], ErrorCode.INVALID_SHAPE),
    ([1.0], ErrorCode.INVALID_REQUEST),
    ([1, 2.5], ErrorCode.INVALID_REQUEST),
    (["1"], ErrorCode.INVALID_REQUEST),
    ([True], ErrorCode.INVALID_REQUEST),
    ([None], ErrorCode.INVALID_REQUEST),
    ([{"id": 1}], ErrorCode.INVALID_REQUEST),
    ([2**63], ErrorCode.ID_OUT_OF_RANGE),
    ([-1, 2**63], ErrorCode.ID_OUT_OF_RANGE),
    ([2**200], ErrorCode.ID_OUT_OF_RANGE),
    ([[2**200, 1]], ErrorCode.ID_OUT_OF_RANGE),
]


@pytest.mark.parametrize(("nested", "code"), NOT_IDS, ids=lambda value: str(value)[:20])
def test_what_is_no_array_of_ids_is_refused(nested: Any, code: ErrorCode) -> None:
    with pytest.raises(VistokError) as caught:
        read_nested_ids(nested)
    assert caught.value.code == code


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_becomes_a_problem_and_comes_back(code: ErrorCode) -> None:
    problem = Problem.from_error(VistokError(code, "a sentence"), "some-request")
    body = problem.body()
    assert body["status"] == code.status
    assert body["code"] == code.value
    assert body["type"] == "about:blank"
    assert Problem.model_validate_json(json.dumps(body)) == problem


def test_several_answers_hold_grids_and_errors_in_order() -> None:
    failed = FailedItem(error=Problem.from_error(VistokError(ErrorCode.UNREADABLE_MEDIA, "no picture"), "r"))
    items = Items(items=[EncodedGrid.from_grid(image_grid()), failed])
    body = items.body()
    assert [next(iter(item)) for item in body["items"]] == ["tokenizer", "error"]
    assert Items.model_validate(body) == items


def test_descriptions_survive_json_and_new_fields() -> None:
    answer = TokenizerList(tokenizers=[INFO]).body()
    assert answer["tokenizers"][0]["temporal_factor"] == 1
    answer["tokenizers"][0]["invented_later"] = True
    assert TokenizerList.model_validate(answer).tokenizers == [INFO]


def test_quantized_ids_are_written_as_lists() -> None:
    body = QuantizedIds(
        tokenizer="t", fingerprint="0" * 32, shape=[1, 1, 2], vocabulary_size=4, ids=[[[0, 3]]]
    )
    assert body.body()["ids"] == [[[0, 3]]]


@pytest.mark.parametrize(
    "wrong", [{"height": 0, "width": 1}, {"height": 1, "width": 1, "fps": -1}, {"height": 1}]
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Pixels.model_validate(wrong)
