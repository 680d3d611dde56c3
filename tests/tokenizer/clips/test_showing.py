"""Colours, rotation, odd sizes and pixels: a frame as a viewer would show it."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.clips import COLOURS, clip, flat, number_of, numbered
from tests.pictures import encoded, scene
from tests.tokenizer.clips.reading import read
from vistok.media.clips.selection import Selection


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_colours_by_what_the_clip_says(matrix: int, full_range: bool, pixels: str) -> None:
    data = clip([flat(c) for c in COLOURS], pixels=pixels, matrix=matrix, full_range=full_range)
    for frame, colour in zip(read(data)[1], COLOURS, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(96, 6), (720, 1)])
def test_unmarked_colours_go_by_the_size(height: int, matrix: int) -> None:
    frame = av.VideoFrame.from_ndarray(flat((200, 60, 30), height, 32)).reformat(
        format="yuv420p", dst_colorspace={1: "ITU709", 6: "ITU601"}[matrix], dst_color_range="MPEG"
    )
    frame.colorspace = 2
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10, width=32, height=height, options={"crf": "5"})
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert np.abs(read(buffer.getvalue())[1][0].astype(int) - (200, 60, 30)).max() <= 4


def test_wide_colours_become_those_of_srgb() -> None:
    data = clip([flat((200, 200, 200)), flat((230, 60, 60))], codec="libx265", pixels="yuv420p10le",
                matrix=9, transfer=14)  # fmt: skip
    grey, red = read(data)[1]
    assert np.abs(grey.astype(int) - 200).max() <= 3
    assert red[0, 0, 0] > 240
    assert red[0, 0, 1] < 50


@pytest.mark.parametrize(("transfer", "white"), [(16, 148), (18, 191)])
def test_high_dynamic_range_shows_paper_as_nearly_white(transfer: int, white: int) -> None:
    levels = [flat((level,) * 3) for level in (0, white // 2, white, 255)]
    data = clip(levels, codec="libx265", pixels="yuv420p10le", matrix=9, transfer=transfer)
    black, dark, paper, light = (int(frame.mean()) for frame in read(data)[1])
    assert black < 6
    assert dark < paper < light
    assert 230 < paper < 255
    assert light >= 253


def corners(height: int = 48, width: int = 64) -> np.ndarray:
    """Red in the top left, green in the top right, blue in the bottom left, white in the bottom right."""
    frame = flat((255, 255, 255), height, width)
    frame[: height // 2, : width // 2] = (255, 0, 0)
    frame[: height // 2, width // 2 :] = (0, 255, 0)
    frame[height // 2 :, : width // 2] = (0, 0, 255)
    return frame


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flags_are_applied(degrees: int, container: str) -> None:
    opened, frames = read(clip([corners()] * 2, container, rotation=degrees, matrix=6))
    expected = np.rot90(corners(), degrees // 90)
    assert frames[0].shape == expected.shape == (opened.height, opened.width, 3)
    assert np.abs(frames[0].astype(int) - expected).mean() < 8


def test_a_rotated_clip_is_shrunk_by_its_longer_side() -> None:
    opened, frames = read(clip([corners()] * 2, rotation=90), Selection(max_side=32))
    assert (opened.height, opened.width) == frames[0].shape[:2] == (32, 24)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize(("pixel_width", "width"), [(Fraction(4, 3), 85), (Fraction(1, 2), 32)])
def test_pixels_that_are_not_square(container: str, pixel_width: Fraction, width: int) -> None:
    opened, frames = read(clip([corners()] * 2, container, pixel_width=pixel_width))
    assert (opened.height, opened.width) == frames[0].shape[:2] == (48, width)


@pytest.mark.parametrize("size", [(47, 63), (1, 1), (3, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    opened, frames = read(clip(numbered(3, *size), "webm", "libvpx-vp9"))
    assert (opened.height, opened.width) == size
    assert [number_of(frame) for frame in frames] == [0, 1, 2]


def test_max_side_shrinks_and_never_enlarges() -> None:
    data = clip([corners()] * 2, matrix=6)
    opened, frames = read(data, Selection(max_side=32))
    assert (opened.height, opened.width) == frames[0].shape[:2] == (24, 32)
    assert np.abs(frames[0].astype(int) - corners(24, 32)).mean() < 12
    assert read(data, Selection(max_side=1000))[0].width == 64
    assert read(encoded(scene(40, 20)), Selection(max_side=10))[1][0].shape == (10, 5, 3)
