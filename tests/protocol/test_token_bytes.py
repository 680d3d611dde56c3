"""Token bytes that a reader must refuse: damaged, cut, non-canonical or lying about their size."""

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.grids import grids, image_grid, video_grid, with_bytes
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import TokenGrid

GRIDS = [image_grid(), video_grid()]
REFUSALS = {
    ErrorCode.INVALID_TOKENS,
    ErrorCode.INVALID_SHAPE,
    ErrorCode.ID_OUT_OF_RANGE,
    ErrorCode.TOO_LARGE,
}


def refusal(data: bytes) -> VistokError:
    with pytest.raises(VistokError) as caught:
        TokenGrid.from_bytes(data)
    assert caught.value.code in REFUSALS
    return caught.value


@pytest.mark.parametrize("grid", GRIDS, ids=["image", "video"])
def test_every_flipped_bit_is_noticed(grid: TokenGrid) -> None:
    data = grid.to_bytes()
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        refusal(bytes(damaged))


@pytest.mark.parametrize("grid", GRIDS, ids=["image", "video"])
def test_every_truncation_is_noticed(grid: TokenGrid) -> None:
    data = grid.to_bytes()
    for length in range(len(data)):
        refusal(data[:length])


@pytest.mark.parametrize("extra", [b"\0", b"\0\0\0\0", image_grid().to_bytes()])
def test_trailing_bytes_are_refused(extra: bytes) -> None:
    assert "token bytes" in refusal(image_grid().to_bytes() + extra).detail


@given(data=st.binary(max_size=200))
@settings(deadline=None)
def test_noise_is_refused_with_one_of_our_errors(data: bytes) -> None:
    refusal(data)


@given(grid=grids(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_read_is_written_back_byte_for_byte(grid: TokenGrid, data: st.DataObject) -> None:
    """Overwrite the header with a right checksum: refused, or the one encoding of what it now says."""
    written = grid.to_bytes()
    offset = data.draw(st.integers(0, 60))
    changed = with_bytes(written, offset, data.draw(st.binary(min_size=1, max_size=4)))
    try:
        read = TokenGrid.from_bytes(changed)
    except VistokError:
        return
    assert read.to_bytes() == changed


CHANGES = {
    "another magic": (0, b"VSTX", "start with"),
    "a newer version": (4, b"\x02", "version"),
    "an unknown kind": (5, b"\x03", "kind"),
    "a clip's kind": (5, b"\x02", "frames"),
    "an unknown flag": (34, b"\x01", "flags"),
    "no codebook": (32, b"\0\0", "codebooks"),
    "no vocabulary": (24, bytes(8), "vocabulary"),
    "a vocabulary beyond 2**62": (24, b"\xff" * 8, "vocabulary"),
    "no height": (36, bytes(4), "height"),
    "frames in an image": (44, b"\x01", "image has no frames"),
    "a rate in an image": (48, b"\x01\0\0\0\x01\0\0\0", "image has no frames"),
    "a zero dimension": (56, bytes(4), "dimensions"),
    "another shape": (56, b"\x03", "expected 84 token bytes"),
    "a shorter name": (7, b"\x03", "expected 79 token bytes"),
    "a longer name": (7, b"\x05", "demo\\x01"),
    "a name beyond the end": (7, b"\xff", "end inside their header"),
    "a name that is not ASCII": (64, b"\xe9", "name"),
    "an id outside the vocabulary": (68, b"\xff\xff", "from 0 to 999"),
    "bits after the last id": (75, b"\x1f", "unused bits"),
}


@pytest.mark.parametrize(("offset", "replacement", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_what_the_format_forbids_is_refused_with_the_reason(
    offset: int, replacement: bytes, reason: str
) -> None:
    error = refusal(with_bytes(image_grid().to_bytes(), offset, replacement))
    assert reason in error.detail


@pytest.mark.parametrize("rate", [(60000, 2002), (0, 1), (1, 0), (48, 2)])
def test_a_frame_rate_has_one_spelling(rate: tuple[int, int]) -> None:
    assert "rate" in refusal(with_bytes(video_grid().to_bytes(), 48, struct.pack("<II", *rate))).detail


def header_that_claims(shape: tuple[int, int], vocabulary_size: int) -> bytes:
    data = with_bytes(image_grid().to_bytes(), 24, struct.pack("<Q", vocabulary_size))
    return with_bytes(data, 56, struct.pack("<II", *shape))


@pytest.mark.parametrize("vocabulary_size", [1, 2, 1000, 2**62])
@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1), (2**16, 2**12), (1025, 1024)])
def test_a_claim_of_many_ids_allocates_nothing(vocabulary_size: int, shape: tuple[int, int]) -> None:
    data = header_that_claims(shape, vocabulary_size)
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_ids_without_bits_are_read_up_to_their_limit() -> None:
    data = header_that_claims((1024, 1024), 1)
    ids_removed = data[:68] + b"\0\0\0\0"
    grid = TokenGrid.from_bytes(with_bytes(ids_removed, 0, b""))
    assert grid.shape == (1024, 1024)


def test_a_reader_may_lower_the_number_of_ids() -> None:
    data = image_grid().to_bytes()
    assert TokenGrid.from_bytes(data, max_ids=6) == image_grid()
    with pytest.raises(VistokError) as caught:
        TokenGrid.from_bytes(data, max_ids=5)
    assert caught.value.code == ErrorCode.TOO_LARGE
