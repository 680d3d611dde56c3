"""Clips that are still arriving: frames as soon as they are there, and never the whole clip in memory."""

import io
import itertools
import os
import threading
import tracemalloc
from collections.abc import Iterator

import av
import numpy as np
import pytest

from tests.clips import Arriving, clip, flat, numbered
from tests.tokenizer.clips.reading import ALL, FRAGMENTED, LIMITS, read, refusal
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode


def test_sound_is_passed_over_and_a_cover_is_not_the_clip() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        cover = out.add_stream("mjpeg", rate=1, width=32, height=32)
        cover.pix_fmt, cover.codec_context.color_range, cover.disposition = "yuvj420p", 2, 1024
        sound = out.add_stream("aac", rate=48000)
        video = out.add_stream("libx264", rate=10, width=64, height=48)
        out.mux(
            cover.encode(av.VideoFrame.from_ndarray(flat((255, 0, 0), 32, 32)).reformat(format="yuvj420p"))
        )
        for index in range(10):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 2 * 1024), np.int16), format="s16", layout="stereo"
            )
            silence.sample_rate, silence.pts = 48000, index * 1024
            out.mux(sound.encode(silence))
        for frame in numbered(6):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        for stream in (video, sound):
            out.mux(stream.encode())
    opened, frames = read(buffer.getvalue())
    assert (opened.height, opened.width, len(frames)) == (48, 64, 6)


def test_only_sound_is_no_clip() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        sound = out.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        silence.sample_rate = 48000
        out.mux(sound.encode(silence))
        out.mux(sound.encode())
    error = refusal(buffer.getvalue())
    assert error.code is ErrorCode.UNREADABLE_MEDIA
    assert "audio" in error.detail


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264"])
def test_frames_come_out_before_the_source_has_ended(container: str) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), dtype=np.uint8))
    data = clip(noise, container, rate=10, options={"tune": "zerolatency"},
                container_options=FRAGMENTED if container == "mp4" else None)  # fmt: skip
    out, into = os.pipe()
    go_on = threading.Event()
    stop = threading.Event()

    def feed() -> None:
        with open(into, "wb", buffering=0) as end:
            end.write(data[: len(data) * 6 // 10])
            go_on.wait(30)
            if not stop.is_set():
                end.write(data[len(data) * 6 // 10 :])

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with open(out, "rb") as source, open_clip(source, ALL, LIMITS) as opened:
            early = [next(opened.frames) for _ in range(12)]
            assert not go_on.is_set()
            go_on.set()
            assert len(early) + len(list(opened.frames)) == 40
    finally:
        stop.set()
        go_on.set()
        feeder.join()


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_reading_is_a_few_frames_ahead_and_no_more(container: str) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (60, 96, 96, 3), dtype=np.uint8))
    data = clip(noise, container, rate=10, options={"tune": "zerolatency"},
                container_options=FRAGMENTED if container == "mp4" else None)  # fmt: skip
    source = Arriving(data)
    with open_clip(source, ALL, LIMITS) as opened:
        for given, _ in enumerate(opened.frames, 1):
            assert source.place <= len(data) * (given + 14) / 60 + 70_000
    assert given == 60


def test_memory_does_not_grow_with_the_clip() -> None:
    short, long = (clip(numbered(60, 120, 160) * times, "matroska", rate=30) for times in (1, 6))

    def peak(data: bytes) -> int:
        tracemalloc.start()
        with open_clip(Arriving(data), ALL, LIMITS) as opened:
            for _ in opened.frames:
                pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(long) < peak(short) + 120 * 160 * 3


def test_an_endless_clip_can_be_begun() -> None:
    data = clip(numbered(10), "mpegts", rate=10, options={"tune": "zerolatency"})

    class Endless:
        rest: Iterator[bytes] = itertools.chain.from_iterable(itertools.repeat([data[i : i + 188] for i in
                                                              range(0, len(data), 188)]))  # fmt: skip

        def read(self, count: int) -> bytes:
            return next(self.rest)

    with open_clip(Endless(), Selection(max_frames=25), LIMITS) as opened:
        assert len(list(opened.frames)) == 25
