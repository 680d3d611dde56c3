"""Token grids and their bytes: round trips, and the file of docs/token-format.md."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.protocol.grids import FINGERPRINT, VOCABULARIES, grids, image_grid, video_grid
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize, TokenGrid

FORMAT_PAGE = Path(__file__).parents[2] / "docs" / "token-format.md"


@given(grid=grids())
@settings(max_examples=300, deadline=None)
def test_bytes_and_grids_turn_into_each_other(grid: TokenGrid) -> None:
    data = grid.to_bytes()
    read = TokenGrid.from_bytes(data)
    assert read == grid
    assert read.pixels == grid.pixels
    assert read.to_bytes() == data
    assert TokenGrid.from_base64url(grid.to_base64url()) == grid


@pytest.mark.parametrize("vocabulary_size", VOCABULARIES)
@pytest.mark.parametrize("shape", [(1,), (3, 7), (129, 1021)])
def test_every_vocabulary_survives_in_every_size(vocabulary_size: int, shape: tuple[int, ...]) -> None:
    ids = np.random.default_rng(0).integers(0, vocabulary_size, shape)
    ids.reshape(-1)[-1] = vocabulary_size - 1
    grid = TokenGrid(ids, "any", FINGERPRINT, "image", vocabulary_size, PixelSize(8, 8))
    read = TokenGrid.from_bytes(grid.to_bytes())
    np.testing.assert_array_equal(read.ids, ids)
    assert read.ids.dtype == np.int64


def test_ids_are_packed_without_gaps() -> None:
    ids = np.zeros((16, 16), dtype=np.int64)
    sizes = {
        size: len(TokenGrid(ids, "any", FINGERPRINT, "image", size, PixelSize(128, 128)).to_bytes())
        for size in (1, 2, 64_000, 2**18)
    }
    assert {size: length - sizes[1] for size, length in sizes.items()} == {
        1: 0,
        2: 256 // 8,
        64_000: 256 * 2,
        2**18: 256 * 18 // 8,
    }


def test_the_worked_example_of_the_format_page_is_what_the_code_writes() -> None:
    block = re.search(r"```hex\n(.*?)```", FORMAT_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    assert image_grid().to_bytes() == bytes.fromhex(block[1])


@pytest.mark.parametrize("grid", [image_grid(), video_grid()], ids=["image", "video"])
def test_a_file_gives_the_grid_back(grid: TokenGrid, tmp_path: Path) -> None:
    grid.save(tmp_path / "one.vtok")
    assert TokenGrid.load(tmp_path / "one.vtok") == grid


def test_base64url_is_written_without_padding_and_read_with_it() -> None:
    text = image_grid().to_base64url()
    assert "=" not in text
    assert TokenGrid.from_base64url(text + "=" * (-len(text) % 4)) == image_grid()


@pytest.mark.parametrize("change", ["=", "==", "A", " ", "\n", "é", "%3D"])
def test_other_spellings_in_base64url_are_refused(change: str) -> None:
    text = image_grid().to_base64url()
    wrong = text + change
    if len(text + change) % 4 == 0 and set(change) == {"="}:
        wrong = text + change + "="
    with pytest.raises(VistokError) as caught:
        TokenGrid.from_base64url(wrong)
    assert caught.value.code == ErrorCode.INVALID_TOKENS


def test_the_plain_alphabet_of_base64_is_refused() -> None:
    ids = np.full((16, 16), 255)
    text = TokenGrid(ids, "any", FINGERPRINT, "image", 256, PixelSize(8, 8)).to_base64url()
    assert "_" in text
    with pytest.raises(VistokError, match="canonical"):
        TokenGrid.from_base64url(text.replace("_", "/"))


def test_shape_leaves_the_codebooks_out() -> None:
    assert image_grid().shape == (2, 3)
    assert video_grid().shape == (2, 3, 4)
    assert video_grid().ids.shape == (2, 3, 4, 2)


def test_bits_per_pixel_counts_packed_bits_over_all_frames() -> None:
    assert image_grid().bits_per_pixel == 6 * 10 / (5 * 9)
    assert video_grid().bits_per_pixel == 48 * 6 / (24 * 32 * 5)


def test_grids_are_equal_by_value() -> None:
    assert image_grid() == image_grid()
    assert image_grid() != video_grid()
    other = image_grid()
    other.ids[0, 0] = 7
    assert other != image_grid()
    assert image_grid() != "demo"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_any_integer_array_becomes_int64(dtype: type) -> None:
    grid = TokenGrid(np.ones((2, 2), dtype), "any", FINGERPRINT, "image", 2, PixelSize(2, 2))
    assert grid.ids.dtype == np.int64


@pytest.mark.parametrize(
    ("given_rate", "kept"),
    [(24, Fraction(24)), (29.97002997002997, Fraction(30000, 1001)), (Fraction(1, 3), Fraction(1, 3))],
)
def test_frame_rates_are_kept_as_fractions(given_rate: float, kept: Fraction) -> None:
    assert PixelSize(1, 1, 1, given_rate).fps == kept


@pytest.mark.parametrize("rate", [0, -24.0, float("nan"), float("inf"), 2**32, Fraction(1, 2**32)])
def test_frame_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(VistokError, match="frames per second"):
        PixelSize(1, 1, 1, rate)


WRONG: list[tuple[str, ErrorCode, dict[str, Any]]] = [
    ("an id too large", ErrorCode.ID_OUT_OF_RANGE, {"ids": np.array([[1000]])}),
    ("a negative id", ErrorCode.ID_OUT_OF_RANGE, {"ids": np.array([[-1]])}),
    ("an id beyond int64", ErrorCode.ID_OUT_OF_RANGE, {"ids": np.array([[2**63]], dtype=np.uint64)}),
    ("ids that are floats", ErrorCode.INVALID_TOKENS, {"ids": np.array([[1.0]])}),
    ("ids that are booleans", ErrorCode.INVALID_TOKENS, {"ids": np.array([[True]])}),
    ("a scalar", ErrorCode.INVALID_SHAPE, {"ids": np.array(1)}),
    ("no ids", ErrorCode.INVALID_SHAPE, {"ids": np.zeros((0, 3), dtype=int)}),
    ("a clip's ids for an image", ErrorCode.INVALID_SHAPE, {"ids": np.zeros((2, 2, 2), dtype=int)}),
    ("another number of codebooks", ErrorCode.INVALID_SHAPE, {"codebooks": 3}),
    ("no codebook", ErrorCode.INVALID_TOKENS, {"codebooks": 0}),
    ("an empty vocabulary", ErrorCode.INVALID_TOKENS, {"vocabulary_size": 0}),
    ("a vocabulary beyond 2**62", ErrorCode.INVALID_TOKENS, {"vocabulary_size": 2**62 + 1}),
    ("a short fingerprint", ErrorCode.INVALID_TOKENS, {"fingerprint": "00"}),
    ("a fingerprint in capitals", ErrorCode.INVALID_TOKENS, {"fingerprint": "A" * 32}),
    ("no name", ErrorCode.INVALID_TOKENS, {"tokenizer": ""}),
    ("a name with a line break", ErrorCode.INVALID_TOKENS, {"tokenizer": "demo\n"}),
    ("a long name", ErrorCode.INVALID_TOKENS, {"tokenizer": "a" * 129}),
    ("another kind", ErrorCode.INVALID_TOKENS, {"kind": "sound"}),
    ("a clip without frames", ErrorCode.INVALID_TOKENS, {"kind": "video", "ids": np.zeros((1, 1, 1), int)}),
    ("an image with frames", ErrorCode.INVALID_TOKENS, {"pixels": PixelSize(1, 1, 1)}),
]


@pytest.mark.parametrize(("code", "change"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_grid_that_could_not_be_decoded_is_refused(code: ErrorCode, change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "ids": np.array([[1, 2]]),
        "tokenizer": "demo",
        "fingerprint": FINGERPRINT,
        "kind": "image",
        "vocabulary_size": 1000,
        "pixels": PixelSize(8, 16),
    }
    with pytest.raises(VistokError) as caught:
        TokenGrid(**{**fields, **change})
    assert caught.value.code == code


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, 1), (2**32, 1)])
def test_pixel_sizes_outside_the_format_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(VistokError, match="expected a pixel size's"):
        PixelSize(*size)


def piece(start: int, latent: int, frames: int) -> TokenGrid:
    ids = np.arange(start, start + latent).repeat(6).reshape(latent, 2, 3)
    return TokenGrid(
        ids, "clip/v1", FINGERPRINT, "video", 64, PixelSize(16, 24, frames, Fraction(30000, 1001))
    )


def test_pieces_of_a_clip_are_joined() -> None:
    assert TokenGrid.joined(iter([piece(0, 1, 1), piece(1, 4, 16), piece(5, 2, 5)])) == piece(0, 7, 22)
    assert TokenGrid.joined([piece(3, 2, 8)]) == piece(3, 2, 8)
    several = video_grid()
    twice = TokenGrid.joined([several, several])
    np.testing.assert_array_equal(twice.ids, np.concatenate([several.ids, several.ids]))
    assert twice.pixels == replace(several.pixels, frames=10)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [image_grid()],
        [piece(0, 1, 1), image_grid()],
        [piece(0, 1, 1), video_grid()],
        [piece(0, 1, 1), replace(piece(1, 1, 1), fingerprint="f" * 32)],
        [piece(0, 1, 1), replace(piece(1, 1, 1), pixels=PixelSize(16, 24, 1, 25))],
        [piece(0, 1, 1), replace(piece(1, 1, 1), pixels=PixelSize(16, 23, 1, Fraction(30000, 1001)))],
        [piece(0, 1, 1), replace(piece(1, 1, 1), ids=np.zeros((1, 3, 2), int))],
        [replace(piece(0, 1, 1), ids=np.array([1, 2]))],
    ],
    ids=["none", "picture", "mixed", "codebooks", "weights", "rate", "width", "shape", "one axis"],
)
def test_what_is_not_of_one_clip_is_not_joined(pieces: list[TokenGrid]) -> None:
    with pytest.raises(VistokError, match=r"of (a|one) clip") as refused:
        TokenGrid.joined(pieces)
    assert refused.value.code is ErrorCode.INVALID_TOKENS
