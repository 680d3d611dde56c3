"""Frames written as clips, and read back."""

import io
import itertools
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import COLOURS, flat, number_of, numbered
from tests.pictures import scene
from vistok.media.clips.formats import ClipFormat, clip_format_of
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import Clip, open_clip
from vistok.media.clips.selection import Selection
from vistok.media.clips.writing import ClipWriter
from vistok_protocol.errors import ErrorCode, VistokError

FORMATS: list[ClipFormat] = ["mp4", "webm", "gif", "webp"]
NTSC = Fraction(30000, 1001)


class Leaving:
    """A target that can only be written to, such as a socket."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def written(
    frames: list[np.ndarray], clip_format: ClipFormat, fps: Fraction = Fraction(10), streamed: bool = False
) -> bytes:
    target = Leaving() if streamed else io.BytesIO()
    with ClipWriter(target, clip_format, *frames[0].shape[:2], fps) as writer:
        for frame in frames:
            writer.write(frame)
    return bytes(target.data) if isinstance(target, Leaving) else target.getvalue()


def read(data: bytes | Path) -> tuple[Clip, list[np.ndarray]]:
    with open_clip(data, Selection(), ClipLimits()) as opened:
        return opened, list(opened.frames)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("clip_format", FORMATS)
def test_colours_come_back(clip_format: ClipFormat, streamed: bool) -> None:
    opened, frames = read(written([flat(c) for c in COLOURS], clip_format, streamed=streamed))
    assert not opened.warnings
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 3


@pytest.mark.parametrize("clip_format", FORMATS)
def test_pictures_come_back_nearly_as_they_were(clip_format: ClipFormat) -> None:
    scenes = [scene(96, 128, seed) for seed in range(4)]
    for frame, expected in zip(read(written(scenes, clip_format))[1], scenes, strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("size", [(47, 63), (48, 63), (47, 64), (1, 1), (2, 3), (721, 33)])
@pytest.mark.parametrize("clip_format", FORMATS)
def test_every_size_comes_back(clip_format: ClipFormat, size: tuple[int, int], streamed: bool) -> None:
    opened, frames = read(written(numbered(3, *size), clip_format, streamed=streamed))
    assert (opened.height, opened.width) == size == frames[0].shape[:2]
    assert [number_of(frame) for frame in frames] == [0, 1, 2]


def test_an_odd_picture_keeps_its_last_row_and_column_when_it_is_shrunk() -> None:
    frame = flat((20, 20, 20), 31, 31)
    frame[-1], frame[:, -1] = 250, 250
    data = written([frame] * 3, "mp4")
    with open_clip(data, Selection(max_side=31), ClipLimits()) as opened:
        assert np.abs(next(opened.frames).astype(int) - frame).max() < 20
    with open_clip(data, Selection(max_side=15), ClipLimits()) as opened:
        small = next(opened.frames)
    assert small.shape == (15, 15, 3)
    assert small[-1].mean() > 90


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fps", [Fraction(24), NTSC, Fraction(25), Fraction(60), Fraction(7, 2), Fraction(1)])
@pytest.mark.parametrize("clip_format", ["mp4", "webm"])
def test_rates_come_back_exactly(clip_format: ClipFormat, fps: Fraction, streamed: bool) -> None:
    opened, frames = read(written(numbered(30), clip_format, fps, streamed))
    assert opened.fps == fps
    assert [number_of(frame) for frame in frames] == list(range(30))


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(25), Fraction(30), Fraction(50)])
@pytest.mark.parametrize("clip_format", ["gif", "webp"])
def test_rates_of_animations_come_back(clip_format: ClipFormat, fps: Fraction) -> None:
    opened, frames = read(written(numbered(30), clip_format, fps))
    assert opened.fps == fps
    assert len(frames) == 30


@pytest.mark.parametrize("clip_format", ["gif", "webp"])
def test_animations_last_as_long_as_they_should(clip_format: ClipFormat) -> None:
    for fps in (NTSC, Fraction(60), Fraction(120), Fraction(7, 3)):
        image = Image.open(io.BytesIO(written(numbered(24), clip_format, fps)))
        delays = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            delays.append(image.info["duration"])
        assert abs(sum(delays) - 24_000 / fps) <= 20
        assert clip_format == "webp" or min(delays) >= 20
        assert image.info["loop"] == 0


@pytest.mark.parametrize("clip_format", ["mp4", "webm", "gif"])
def test_bytes_come_out_while_frames_go_in(clip_format: ClipFormat) -> None:
    target = Leaving()
    sizes = []
    with ClipWriter(target, clip_format, 96, 128, Fraction(25)) as writer:
        for seed in range(50):
            writer.write(scene(96, 128, seed))
            sizes.append(len(target.data))
    # Nothing is held back for longer than a second.
    assert all(later > earlier for earlier, later in itertools.pairwise(sizes[::25]))
    assert sizes[24] > len(target.data) / 4


def test_what_has_come_out_can_be_shown_before_the_end() -> None:
    target = Leaving()
    with ClipWriter(target, "mp4", 96, 128, Fraction(25)) as writer:
        for seed in range(50):
            writer.write(scene(96, 128, seed))
        early = bytes(target.data)
        assert len(read(early)[1]) >= 40


@pytest.mark.parametrize("clip_format", ["mp4", "webm", "gif"])
def test_memory_does_not_grow_with_the_clip(clip_format: ClipFormat) -> None:
    class Nowhere:
        def write(self, data: bytes) -> int:
            return len(data)

    def peak(count: int) -> int:
        frames = [scene(96, 128, seed) for seed in range(4)]
        tracemalloc.start()
        with ClipWriter(Nowhere(), clip_format, 96, 128, Fraction(25)) as writer:
            for index in range(count):
                writer.write(frames[index % 4])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(5)
    assert peak(200) < peak(20) + 96 * 128 * 3


def test_an_mp4_is_what_browsers_play() -> None:
    for streamed in (False, True):
        data = written(numbered(5), "mp4", streamed=streamed)
        with av.open(io.BytesIO(data)) as container:
            video = container.streams.video[0]
            assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
            marks = video.codec_context
            assert (marks.colorspace, marks.color_primaries, marks.color_trc, marks.color_range) == (
                1,
                1,
                1,
                1,
            )
        assert (b"moof" in data) == streamed


def test_a_file_by_its_name(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.WEBM", "clip.gif", "clip.webp"):
        path = tmp_path / name
        with ClipWriter(path, clip_format_of(path), 48, 64, Fraction(10)) as writer:
            for frame in numbered(4):
                writer.write(frame)
        assert [number_of(frame) for frame in read(path)[1]] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["clip", "clip.mov", "clip.mp4.txt", ".mp4"])
def test_other_names(name: str) -> None:
    with pytest.raises(
        VistokError, match=r"expected a name ending in \.mp4, \.webm, \.gif, \.webp"
    ) as refused:
        clip_format_of(Path(name))
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def fail_midway(target: Path | Leaving) -> None:
    with ClipWriter(target, "mp4", 48, 64, Fraction(10)) as writer:
        for frame in numbered(10):
            writer.write(frame)
        raise ValueError("stop", len(target.data) if isinstance(target, Leaving) else 0)


def test_a_clip_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="stop"):
        fail_midway(path)
    assert not path.exists()


def test_a_clip_that_fails_writes_no_ending() -> None:
    target = Leaving()
    with pytest.raises(ValueError, match="stop") as failed:
        fail_midway(target)
    assert failed.value.args == ("stop", len(target.data))


@pytest.mark.parametrize("clip_format", FORMATS)
def test_a_target_that_fails_says_so_itself(clip_format: ClipFormat) -> None:
    class Closed:
        def write(self, data: bytes) -> int:
            raise BrokenPipeError("the other side went away")

    def write_all() -> None:
        with ClipWriter(Closed(), clip_format, 48, 64, Fraction(10)) as writer:
            for seed in range(60):
                writer.write(scene(48, 64, seed))

    with pytest.raises(BrokenPipeError, match="went away"):
        write_all()


@pytest.mark.parametrize(
    "frame",
    [np.zeros((48, 64), np.uint8), np.zeros((48, 65, 3), np.uint8), np.zeros((48, 64, 3), np.float32)],
)
def test_frames_of_another_shape(frame: np.ndarray) -> None:
    with ClipWriter(io.BytesIO(), "mp4", 48, 64, Fraction(10)) as writer:
        writer.write(flat((1, 2, 3)))
        with pytest.raises(VistokError, match="expected a uint8 frame") as refused:
            writer.write(frame)
    assert refused.value.code is ErrorCode.INVALID_SHAPE


@pytest.mark.parametrize("clip_format", FORMATS)
def test_no_frame_at_all(clip_format: ClipFormat, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    with (
        pytest.raises(VistokError, match="at least one frame"),
        ClipWriter(path, clip_format, 48, 64, Fraction(10)),
    ):
        pass
    assert not path.exists()


@pytest.mark.parametrize("size", [(0, 64), (48, 70_000)])
@pytest.mark.parametrize("clip_format", FORMATS)
def test_sizes_that_no_clip_has(clip_format: ClipFormat, size: tuple[int, int]) -> None:
    with pytest.raises(VistokError, match="expected sides from 1") as refused:
        ClipWriter(io.BytesIO(), clip_format, *size, Fraction(10))
    assert refused.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("fps", [Fraction(0), Fraction(-1), Fraction(10_000)])
def test_rates_that_no_clip_has(fps: Fraction, tmp_path: Path) -> None:
    with pytest.raises(VistokError, match="expected a rate"):
        ClipWriter(tmp_path / "clip.mp4", "mp4", 48, 64, fps)
    assert not (tmp_path / "clip.mp4").exists()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(VistokError, match="expected a file that can be written") as refused:
        ClipWriter(tmp_path / "missing" / "clip.mp4", "mp4", 48, 64, Fraction(10))
    assert refused.value.code is ErrorCode.INVALID_REQUEST
