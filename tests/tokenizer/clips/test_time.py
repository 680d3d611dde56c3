"""Which frame is shown when, and which part of a clip is read."""

import io
import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clips import Arriving, clip, flat, numbered
from tests.pictures import encoded, scene
from tests.tokenizer.clips.reading import FRAGMENTED, numbers, picture, read, refusal
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode


def test_a_rate_is_told_exactly() -> None:
    for container in ("mp4", "matroska", "mpegts"):
        data = clip(numbered(40), container, rate=Fraction(30000, 1001))
        assert read(data)[0].fps == Fraction(30000, 1001)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_variable_rate_becomes_constant(container: str) -> None:
    data = clip(numbered(5), container, rate=10, times=[0, 1, 4, 5, 6])
    assert numbers(data, fps=Fraction(10))[:7] == [0, 1, 1, 1, 2, 3, 4]


def test_without_a_rate_asked_for_time_is_kept() -> None:
    data = clip(numbered(20), "matroska", rate=100, times=[5 * i + (i % 2) for i in range(10)]
                + [100 + 10 * i for i in range(10)])  # fmt: skip
    opened, frames = read(data)
    assert abs(len(frames) / opened.fps - 2) <= Fraction(15, 100)


@given(st.lists(st.integers(1, 7), min_size=2, max_size=12), st.sampled_from([1, 3, 5, 10, 20, 50]))
@settings(max_examples=25, deadline=None)
def test_what_is_shown_when_is_what_a_viewer_sees(gaps: list[int], fps: int) -> None:
    times = [0, *itertools.accumulate(gaps)][: len(gaps)]
    frames = [flat((20 + 16 * i,) * 3, 16, 16) for i in range(len(times))]
    # A tenth of a second apart, and looked at in between: there rounding has nothing to say.
    data = clip(frames, "matroska", "ffv1", rate=10, times=times, pixels="yuv444p")
    shown = [round((float(f.mean()) - 20) / 16) for f in read(data, Selection(fps=Fraction(fps)))[1]]
    rate = read(data)[0].fps
    allowance = min(1 / rate, Fraction(1, fps)) / 2
    for slot, index in enumerate(shown):
        now = Fraction(slot, fps)
        expected = [i for i, time in enumerate(times) if Fraction(time, 10) <= now]
        soon = [i for i, time in enumerate(times) if Fraction(time, 10) <= now + allowance + Fraction(1, 500)]
        assert expected[-1] <= index <= soon[-1]


def test_fewer_and_more_frames() -> None:
    data = clip(numbered(12), rate=12)
    assert numbers(data, fps=Fraction(4)) == [0, 3, 6, 9]
    assert numbers(data, fps=Fraction(24)) == [i for i in range(12) for _ in range(2)]


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi", "h264"])
def test_a_part_of_a_clip(container: str, arrive: type) -> None:
    options = FRAGMENTED if container == "mp4" else None
    data = clip(numbered(50), container, rate=10, options={"g": "12", "bf": "2"}, container_options=options)
    rate = Fraction(10)
    assert numbers(arrive(data), fps=rate, start=Fraction(37, 10)) == list(range(37, 50))
    assert numbers(arrive(data), fps=rate, start=Fraction(2), duration=Fraction(1)) == list(range(20, 30))
    assert numbers(arrive(data), fps=rate, start=Fraction("0.5"), max_frames=3) == [5, 6, 7]
    assert numbers(arrive(data), fps=rate, start=Fraction("4.95"), max_frames=3) == [49]


def test_a_seek_finds_what_decoding_finds(tmp_path: Path) -> None:
    data = clip(numbered(55), rate=10, options={"g": "9", "bf": "3", "preset": "medium"})
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    for tenths in range(0, 55, 3):
        assert numbers(path, start=Fraction(tenths, 10), max_frames=2) == list(
            range(tenths, min(55, tenths + 2))
        )


def test_a_late_start_is_found_without_reading_what_is_before() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    data = clip(list(noise), rate=10, options={"g": "10"}, container_options={"movflags": "faststart"})

    class Counting(io.BytesIO):
        taken = 0

        def read(self, count: int = -1) -> bytes:
            part = super().read(count)
            self.taken += len(part)
            return part

        read1 = read

    source = Counting(data)
    assert len(read(source, Selection(start=Fraction(5), max_frames=2))[1]) == 2
    assert source.taken < len(data) / 2


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
def test_a_start_behind_the_end(arrive: type) -> None:
    for data in (clip(numbered(5), "matroska"), picture(numbered(5), "webp"), encoded(scene(8, 8))):
        error = refusal(arrive(data), Selection(start=Fraction(60)))
        assert error.code is ErrorCode.INVALID_REQUEST
        assert "start" in error.detail


def test_one_wrong_time_does_not_stretch_the_clip() -> None:
    data = bytearray(clip(numbered(10), "ivf", "libvpx-vp9", rate=10))
    place = 32
    for _ in range(5):
        place += 12 + int.from_bytes(data[place : place + 4], "little")
    data[place + 4 : place + 12] = (10**9).to_bytes(8, "little")
    opened, frames = read(bytes(data), Selection(fps=Fraction(10)))
    assert abs(len(frames) - 10) <= 1
    assert any("leap" in warning for warning in opened.warnings)
