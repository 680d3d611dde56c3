"""Clips as arrays of uint8 in .npy, read and written frame by frame."""

import io
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import Arriving, numbered
from tests.pictures import encoded, scene
from tests.tokenizer.clips.reading import ALL, LIMITS, numbers, read, refusal
from vistok.media.clips.array_clip import write_array_clip
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import npy_header, write_npy
from vistok_protocol.tokens import PixelSize

FRAMES = np.stack([scene(20, 30, seed) for seed in range(9)])
WHOLE = write_npy(FRAMES)
HEADER = len(WHOLE) - FRAMES.nbytes
FRAME = FRAMES[0].nbytes


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
def test_the_frames_are_those_of_the_array(arrive: type) -> None:
    opened, frames = read(arrive(WHOLE))
    assert (opened.height, opened.width, opened.fps) == (20, 30, 25)
    assert opened.seconds == Fraction(9, 25)
    assert np.array_equal(frames, FRAMES)
    assert not opened.warnings


def test_one_picture_is_what_it_is_as_a_file() -> None:
    array, frames = read(write_npy(FRAMES[0]))
    picture, shown = read(encoded(FRAMES[0]))
    assert (array.fps, array.seconds) == (picture.fps, picture.seconds)
    assert np.array_equal(frames, shown)
    assert len(read(write_npy(FRAMES[0]), Selection(fps=Fraction(5)))[1]) == 5


def test_a_part_is_chosen_as_of_any_clip_of_the_usual_rate() -> None:
    data = write_npy(np.stack(numbered(50)))
    assert numbers(data, fps=Fraction(5)) == list(range(0, 50, 5))
    assert numbers(data, start=Fraction(1), max_frames=3) == [25, 26, 27]
    assert numbers(data, duration=Fraction(1, 10)) == [0, 1, 2]
    assert numbers(data, fps=Fraction(50), max_frames=4) == [0, 0, 1, 1]
    opened, _ = read(data, Selection(max_side=32))
    assert (opened.height, opened.width) == (24, 32)


def test_frames_come_as_soon_as_their_bytes() -> None:
    source = Arriving(WHOLE)
    with open_clip(source, ALL, LIMITS) as opened:
        for given, _ in enumerate(opened.frames, 1):
            assert source.place <= HEADER + (given + 1) * FRAME + 1000


@pytest.mark.parametrize("missing", [1, FRAME, FRAME + 1, 8 * FRAME])
def test_of_a_cut_array_the_frames_are_given_that_came_whole(missing: int) -> None:
    whole = 9 - -(-missing // FRAME)
    for arrive in (bytes, Arriving):
        opened, frames = read(arrive(WHOLE[:-missing]))
        assert np.array_equal(frames, FRAMES[:whole])
        assert opened.warnings == [f"the array is cut short: of its 9 frames {whole} came whole"]


@pytest.mark.parametrize("length", [6, 60, HEADER, HEADER + FRAME - 1])
def test_without_one_whole_frame_it_is_no_clip(length: int) -> None:
    for arrive in (bytes, Arriving):
        assert refusal(arrive(WHOLE[:length])).code is ErrorCode.INVALID_ARRAY


def test_bytes_behind_the_last_frame_are_refused() -> None:
    error = refusal(WHOLE + b"\0")
    assert (error.code, error.detail) == (
        ErrorCode.INVALID_ARRAY,
        "expected 9 frames and nothing after them, got more bytes",
    )
    assert len(read(WHOLE + b"\0", Selection(max_frames=8))[1]) == 8


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (FRAMES.astype(np.float32), ErrorCode.INVALID_ARRAY),
        (FRAMES.astype(np.int8), ErrorCode.INVALID_ARRAY),
        (np.asfortranarray(FRAMES), ErrorCode.INVALID_ARRAY),
        (np.zeros((2, 3, 4, 1), np.uint8), ErrorCode.INVALID_SHAPE),
        (np.zeros((3, 4), np.uint8), ErrorCode.INVALID_SHAPE),
        (np.zeros((1, 2, 4, 4, 3), np.uint8), ErrorCode.INVALID_SHAPE),
        (np.zeros((0, 4, 4, 3), np.uint8), ErrorCode.INVALID_SHAPE),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_other_arrays_are_refused(array: np.ndarray, code: ErrorCode) -> None:
    assert refusal(write_npy(array)).code is code


def test_what_a_header_promises_is_held_against_the_limits_before_anything_is_read() -> None:
    giants = [
        ((2**40, 16, 16, 3), ClipLimits()),
        ((2, 2**20, 2**20, 3), ClipLimits()),
        ((9, 20, 30, 3), ClipLimits(max_frames=8)),
        ((30, 20, 30, 3), ClipLimits(max_seconds=1)),
        ((2, 20, 30, 3), ClipLimits(max_pixels=599)),
    ]
    for shape, limits in giants:
        tracemalloc.start()
        source = Arriving(npy_header(shape, np.dtype(np.uint8)) + bytes(10_000))
        assert refusal(source, limits=limits).code is ErrorCode.TOO_LARGE
        assert source.place <= 1000
        assert tracemalloc.get_traced_memory()[1] < 10**6
        tracemalloc.stop()
    assert len(read(WHOLE, Selection(max_frames=8), ClipLimits(max_frames=8))[1]) == 8


def test_a_source_that_fails_is_not_called_a_wrong_array() -> None:
    class Broken:
        def __init__(self, after: int) -> None:
            self.data = io.BytesIO(WHOLE[:after])

        def read(self, count: int) -> bytes:
            if data := self.data.read(count):
                return data
            raise ConnectionResetError("the other side went away")

    for after in (6, 40, HEADER + FRAME):
        with pytest.raises(ConnectionResetError):
            read(Broken(after))


def test_frames_are_written_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "clip.npy"
    write_array_clip(path, iter(FRAMES), PixelSize(20, 30, 9))
    assert np.array_equal(np.load(path), FRAMES)
    assert np.array_equal(read(path)[1], FRAMES)


def test_a_clip_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield FRAMES[0]
        raise VistokError(ErrorCode.INTERNAL, "no more")

    with pytest.raises(VistokError, match="no more"):
        write_array_clip(tmp_path / "clip.npy", frames(), PixelSize(20, 30, 9))
    assert not list(tmp_path.iterdir())
    with pytest.raises(VistokError, match="can be written"):
        write_array_clip(tmp_path / "nowhere" / "clip.npy", frames(), PixelSize(20, 30, 9))
