"""Damaged clips, clips that are none, and clips that are too much."""

import contextlib
import random
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import Arriving, clip, flat, number_of, numbered
from tests.pictures import encoded, scene
from tests.tokenizer.clips.reading import ALL, FRAGMENTED, picture, read, refusal
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode, VistokError


def test_damage_in_the_middle_is_covered_and_told() -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8))
    data = bytearray(clip(noise, "avi", "mjpeg", pixels="yuvj420p", rate=10))
    chunks = [found.start() for found in re.finditer(rb"00dc....\xff\xd8", bytes(data), re.DOTALL)]
    for place in chunks[10:13]:
        data[place + 8 : place + 900] = bytes(892)
    opened, frames = read(bytes(data))
    assert len(frames) == 30
    assert np.array_equal(frames[9], frames[11])
    assert not np.array_equal(frames[9], frames[14])
    assert len(opened.warnings) == 1
    assert "1.30 s" in opened.warnings[0]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
def test_a_clip_cut_short_gives_the_frames_that_are_there(arrive: type, share: float) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8))
    for options in ({"movflags": "faststart"}, FRAGMENTED):
        data = clip(noise, rate=10, options={"tune": "zerolatency"}, container_options=options)
        _, frames = read(arrive(data[: int(len(data) * share)]))
        assert abs(len(frames) - 20 * share) <= 3


def test_a_damaged_header_is_refused() -> None:
    whole = clip(numbered(10))
    for data in (whole[:40], whole[: len(whole) // 2], whole[:-300]):
        assert refusal(data).code is ErrorCode.UNREADABLE_MEDIA


def test_a_damaged_animation_gives_its_beginning() -> None:
    data = picture([scene(64, 64, seed) for seed in range(8)], "webp")
    for arrive in (bytes, Arriving):
        opened, frames = read(arrive(data[: len(data) * 6 // 10]))
        assert 4 <= len(frames) < 6
        assert "cut short" in opened.warnings[0]


def test_frames_that_change_their_size_are_scaled_to_the_first() -> None:
    parts = [clip(numbered(5), "mpegts"), clip([flat((250, 20, 20), 96, 96)] * 5, "mpegts")]
    opened, frames = read(b"".join(parts))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert np.abs(frames[-1].astype(int) - (250, 20, 20)).max() < 12
    assert any("size" in warning for warning in opened.warnings)


def test_times_that_begin_anew_go_on() -> None:
    part = clip(numbered(10), "mpegts", rate=10)
    opened, frames = read(part + part, Selection(fps=Fraction(10)))
    assert abs(len(frames) - 20) <= 1
    assert number_of(frames[-1]) == 9
    assert any("go back" in warning for warning in opened.warnings)


PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{}\n#EXT-X-ENDLIST\n"
SCRIPTS = [PLAYLIST, "ffconcat version 1.0\nfile '{}'\n",
           "<?xml version='1.0'?><MPD><BaseURL>{}</BaseURL></MPD>",
           "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na={}\n"]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "clip.mp4", "clip%03d.png"])
def test_no_other_file_is_opened(tmp_path: Path, name: str, script: str) -> None:
    (tmp_path / "secret.ts").write_bytes(clip(numbered(5), "mpegts"))
    path = tmp_path / name
    path.write_text(script.format(tmp_path / "secret.ts"))
    for source in (path, path.read_bytes()):
        assert refusal(source).code is ErrorCode.UNREADABLE_MEDIA


@pytest.mark.parametrize(
    "data", [b"hello, this is text" * 50, b"\0" * 5000, b"%PDF-1.7 ...", b"x", b"\xff\xd8\xff"]
)
@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
def test_what_is_no_clip(data: bytes, arrive: type) -> None:
    assert refusal(arrive(data)).code is ErrorCode.UNREADABLE_MEDIA


def test_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for source in (b"", Arriving(b""), tmp_path / "empty.mp4"):
        assert refusal(source).code is ErrorCode.EMPTY_BODY
    assert refusal(tmp_path / "missing.mp4").code is ErrorCode.INVALID_REQUEST


def test_too_long_by_its_header_is_refused_before_decoding() -> None:
    data = clip(numbered(40), rate=1, container_options={"movflags": "faststart"})
    error = refusal(data[:4000], limits=ClipLimits(max_seconds=30))
    assert error.code is ErrorCode.TOO_LARGE
    assert "at most 30 seconds, got 40.0" in error.detail
    few = ClipLimits(max_seconds=30, max_frames=5)
    assert len(read(data, Selection(duration=Fraction(4)), few)[1]) == 4
    assert len(read(data, Selection(max_frames=5), few)[1]) == 5
    assert len(read(data, Selection(start=Fraction(36)), few)[1]) == 4


def test_too_long_without_a_header_is_refused_when_it_shows() -> None:
    data = clip(numbered(40), "mpegts", rate=10)
    with open_clip(Arriving(data), ALL, ClipLimits(max_frames=15)) as opened:
        with pytest.raises(VistokError, match="at most 15 frames, got 16") as refused:
            list(opened.frames)
        assert refused.value.code is ErrorCode.TOO_LARGE


def test_too_many_pixels() -> None:
    limits = ClipLimits(max_pixels=3000)
    sources = [
        clip(numbered(2)),
        picture(numbered(2), "webp"),
        picture(numbered(2), "gif"),
        encoded(scene(60, 60)),
    ]
    for data in sources:
        error = refusal(data, limits=limits)
        assert error.code is ErrorCode.TOO_LARGE
        assert "3000 pixels" in error.detail
    wide = clip(numbered(2), pixel_width=Fraction(3))
    assert refusal(wide, limits=ClipLimits(max_pixels=5000)).code is ErrorCode.TOO_LARGE


def test_a_header_of_a_giant_costs_nothing() -> None:
    giant = (
        b"GIF89a"
        + b"\xff\xff\xff\xff"
        + b"\x80\0\0"
        + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
    )
    tracemalloc.start()
    assert refusal(giant).code is ErrorCode.TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_too_many_bytes() -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8))
    data = clip(noise, "matroska", rate=10)
    limits = ClipLimits(max_bytes=len(data) // 2)
    assert refusal(data, limits=limits).code is ErrorCode.TOO_LARGE
    assert refusal(Arriving(data), limits=limits).code is ErrorCode.TOO_LARGE
    assert len(read(Arriving(data), Selection(max_frames=3), limits)[1]) == 3
    assert len(read(data, Selection(max_frames=3), limits)[1]) == 3


def test_a_source_that_fails_is_not_called_a_damaged_clip() -> None:
    data = clip(numbered(40), "mpegts")

    class Broken(Arriving):
        def read(self, count: int) -> bytes:
            if self.place > len(data) // 2:
                raise ConnectionResetError("the other side went away")
            return super().read(count)

    with pytest.raises(ConnectionResetError):
        read(Broken(data))


def test_decoders_keep_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    whole = clip(numbered(20), "mpegts")
    with contextlib.suppress(VistokError):
        read(whole[:1000] + bytes(2000) + whole[3000:])
    refusal(b"hello" * 1000)
    assert capfd.readouterr() == ("", "")


SMALL = [
    clip(numbered(6, 32, 32), container, codec, pixels=pixels, matrix=matrix)
    for container, codec, pixels, matrix in [
        ("mp4", "libx264", "yuv420p", 1),
        ("webm", "libvpx-vp9", "yuv420p", 1),
        ("avi", "mjpeg", "yuvj420p", 5),
        ("matroska", "libx265", "yuv420p", 1),
        ("gif", "gif", "rgb8", 0),
        ("mpegts", "libx264", "yuv420p", 1),
        ("ivf", "libsvtav1", "yuv420p", 1),
        ("mjpeg", "mjpeg", "yuvj420p", 5),
    ]
] + [picture(numbered(6, 32, 32), image_format) for image_format in ("webp", "png")]


@pytest.mark.parametrize("seed", range(len(SMALL)))
def test_damaged_bytes_give_frames_or_our_error(seed: int) -> None:
    chance = random.Random(seed)
    limits = ClipLimits(max_pixels=10**6, max_frames=200, max_seconds=100)
    for attempt in range(40):
        data = bytearray(SMALL[seed])
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if attempt % 5 == 0:
            del data[chance.randrange(len(data)) :]
        source = Arriving(bytes(data)) if attempt % 2 else bytes(data)
        with contextlib.suppress(VistokError), open_clip(source, ALL, limits) as opened:
            for frame in opened.frames:
                assert frame.shape == (opened.height, opened.width, 3)
                assert frame.dtype == np.uint8
