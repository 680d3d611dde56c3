"""Frames of any size to token grids and back."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pictures import scene
from vistok import VisualTokenizer
from vistok.clips import decode_clip, encode_clip
from vistok.grids import decode_grid, encode_picture
from vistok.media.fitting import Fit
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize, TokenGrid

NTSC = Fraction(30000, 1001)


def frames_of(count: int, height: int = 19, width: int = 30) -> list[np.ndarray]:
    """Show a part of a scene, which moves on from frame to frame."""
    wide = scene(height, width + 2 * count)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + width]) for i in range(count)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 11), height=st.integers(1, 33), width=st.integers(1, 33))
def test_a_clip_passes_through_bytes_and_keeps_its_size(
    tiny_video_tokenizer: VisualTokenizer, count: int, height: int, width: int
) -> None:
    grid = encode_clip(tiny_video_tokenizer, frames_of(count, height, width), NTSC)
    assert grid.pixels == PixelSize(height, width, count, NTSC)
    assert grid.shape == (1 + -(-(count - 1) // 4), -(-height // 8), -(-width // 8))
    grid = TokenGrid.from_bytes(grid.to_bytes())
    shown = list(decode_clip(tiny_video_tokenizer, grid))
    assert [frame.shape for frame in shown] == [(height, width, 3)] * count
    assert np.array_equal(decode_grid(tiny_video_tokenizer, grid), shown)


def test_a_picture_is_a_clip_of_one_frame(tiny_video_tokenizer: VisualTokenizer) -> None:
    (picture,) = frames_of(1)
    grid = encode_picture(tiny_video_tokenizer, picture)
    assert grid == encode_clip(tiny_video_tokenizer, [picture])
    assert grid.pixels == PixelSize(19, 30, 1)


def test_frames_are_fitted(tiny_video_tokenizer: VisualTokenizer) -> None:
    grid = encode_clip(tiny_video_tokenizer, frames_of(2, 40, 64), fit=Fit(max_side=32))
    assert grid.pixels == PixelSize(20, 32, 2)


def test_frames_are_read_and_shown_one_by_one(tiny_video_tokenizer: VisualTokenizer) -> None:
    """However long a clip is, no more than a group of its frames is held."""
    grid = encode_clip(tiny_video_tokenizer, iter(frames_of(9)))
    shown = decode_clip(tiny_video_tokenizer, grid)
    seen = []
    decode = tiny_video_tokenizer.autoencoder.decode
    tiny_video_tokenizer.autoencoder.decode = lambda *given: seen.append(1) or decode(*given)
    next(shown)
    assert len(seen) == 1


def test_mistakes_are_named(tiny_video_tokenizer: VisualTokenizer, tiny_tokenizer: VisualTokenizer) -> None:
    def code_of(*clip: object) -> ErrorCode:
        with pytest.raises(VistokError) as refused:
            encode_clip(*clip)
        return refused.value.code

    assert code_of(tiny_video_tokenizer, []) is ErrorCode.INVALID_REQUEST
    assert code_of(tiny_tokenizer, frames_of(2)) is ErrorCode.INVALID_REQUEST
    assert code_of(tiny_video_tokenizer, [*frames_of(1), *frames_of(1, 50)]) is ErrorCode.INVALID_SHAPE
    assert code_of(tiny_video_tokenizer, [np.zeros((8, 8))]) is ErrorCode.INVALID_SHAPE


@pytest.mark.parametrize("frames", [5, 10, 14])
def test_a_grid_says_as_many_frames_as_its_ids_stand_for(
    tiny_video_tokenizer: VisualTokenizer, frames: int
) -> None:
    grid = encode_clip(tiny_video_tokenizer, frames_of(9))
    wrong = TokenGrid(**{**vars(grid), "pixels": PixelSize(19, 30, frames)})
    with pytest.raises(VistokError, match=f"expected 9 frames, or up to 3 fewer, .* got {frames}"):
        decode_clip(tiny_video_tokenizer, wrong)
