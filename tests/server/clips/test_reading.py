"""Clips read in real child processes: the same frames, while they arrive, whatever becomes of the child."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import clip, number_of, numbered
from tests.pictures import encoded, scene
from tests.server.clips.processes import LOOPS, descriptors, is_gone, pieces_of, run, settled
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit, prepare
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.clips.reading import ClipReader, clip_reader

ALL, PAD, LIMITS = Selection(), Fit(), ClipLimits()
HEADER = b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\n"
SCENES = [scene(50, 70, seed) for seed in range(4)]


def grey(level: int) -> bytes:
    """One frame for behind HEADER."""
    return b"FRAME\n" + bytes([level]) * (64 * 48) + bytes([128]) * (64 * 48 // 2)


class Body:
    """A body without end; it counts what was taken of it, and waits for ever after some frames, if told."""

    def __init__(self, waits_after: int | None = None) -> None:
        self.taken = 0
        self._waits_after = waits_after

    async def pieces(self) -> AsyncIterator[bytes]:
        yield HEADER
        while self.taken != self._waits_after:
            self.taken += 1
            yield grey(100)
        await asyncio.Event().wait()


def webp() -> bytes:
    file = BytesIO()
    first, *others = map(Image.fromarray, SCENES)
    first.save(file, "webp", save_all=True, append_images=others, duration=100, lossless=True)
    return file.getvalue()


async def read_all(
    data: bytes, selection: Selection = ALL, fit: Fit = PAD, limits: ClipLimits = LIMITS
) -> tuple[ClipReader, list[np.ndarray]]:
    async with clip_reader(selection, fit, 16, limits, limits.max_bytes) as reader:
        feeding = asyncio.create_task(reader.feed(pieces_of(data)))
        frames = [frame async for frame in reader.frames()]
        await feeding
    return reader, frames


async def failure(data: bytes, selection: Selection = ALL, fit: Fit = PAD, **limits: int) -> VistokError:
    with pytest.raises(VistokError) as raised:
        await read_all(data, selection, fit, ClipLimits(**limits))
    return raised.value


@pytest.mark.parametrize(
    ("data", "selection", "fit"),
    [
        pytest.param(clip(SCENES, "matroska"), ALL, PAD, id="h264"),
        pytest.param(
            clip(SCENES, "webm", "libvpx-vp9"), Selection(fps=Fraction(24)), Fit(fit="crop"), id="vp9"
        ),
        pytest.param(
            clip(SCENES, "avi", "mjpeg", pixels="yuvj420p"),
            Selection(max_side=40, start=Fraction(1, 10)),
            Fit(fit="resize"),
            id="mjpeg",
        ),
        pytest.param(clip(SCENES, "gif", "gif", pixels="rgb8"), ALL, Fit(size=(64, 64)), id="gif"),
        pytest.param(webp(), Selection(duration=Fraction(3, 10)), PAD, id="webp"),
        pytest.param(encoded(SCENES[0]), ALL, PAD, id="png"),
        # The index comes last, as from a camera, and behind more than FFmpeg keeps to go back in.
        pytest.param(clip([scene(200, 300, seed) for seed in range(12)]), ALL, PAD, id="mp4"),
        pytest.param(
            clip(SCENES, container_options={"movflags": "faststart"}), ALL, PAD, id="mp4-index-first"
        ),
        # Cut off: the library warns, and gives what is there.
        pytest.param(clip(SCENES * 8, "matroska")[:-3000], ALL, PAD, id="cut"),
    ],
)
async def test_frames_are_those_of_the_library(data: bytes, selection: Selection, fit: Fit) -> None:
    async with clip_reader(selection, fit, 16, LIMITS, 2**20) as reader:
        feeding = asyncio.create_task(reader.feed(pieces_of(data)))
        head = await reader.head()
        frames = [frame async for frame in reader.frames()]
        await feeding
    with open_clip(data, selection, LIMITS) as here:
        prepared = [prepare(frame, fit, 16) for frame in here.frames]
    assert (head.height, head.width) == (prepared[0].size.height, prepared[0].size.width)
    assert (head.rows, head.columns) == prepared[0].pixels.shape[:2]
    assert (head.fps, head.seconds) == (here.fps, here.seconds)
    assert reader.count == len(frames) == len(prepared)
    assert reader.warnings == here.warnings
    for frame, expected in zip(frames, prepared, strict=True):
        np.testing.assert_array_equal(frame, expected.pixels)


@pytest.mark.parametrize("loop", LOOPS)
def test_frames_come_while_the_body_arrives(loop: str) -> None:
    async def main() -> None:
        seen = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield HEADER + b"".join(grey(level) for level in range(20, 220, 10))
            await seen.wait()
            yield grey(235)

        async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
            feeding = asyncio.create_task(reader.feed(body()))
            frames = reader.frames()
            levels = [float((await anext(frames)).mean()) for _ in range(10)]
            assert not feeding.done()
            seen.set()
            levels += [float(frame.mean()) async for frame in frames]
            await feeding
        assert levels == sorted(levels)
        assert reader.count == len(levels) == 21

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("waits_after", [None, 40])
def test_a_body_without_end_is_let_go_when_all_is_read(loop: str, waits_after: int | None) -> None:
    async def main() -> None:
        body = Body(waits_after)
        async with clip_reader(Selection(duration=Fraction(1)), PAD, 16, LIMITS, 2**20) as reader:
            feeding = asyncio.create_task(reader.feed(body.pieces()))
            assert len([frame async for frame in reader.frames()]) == 10
            await feeding

    run(loop, main())


async def test_frames_of_megabytes_come_whole() -> None:
    frames = numbered(4, 1088, 1920)
    _, read = await read_all(clip(frames, "matroska", options={"preset": "ultrafast"}))
    assert [frame.shape for frame in read] == [(1088, 1920, 3)] * 4
    assert [number_of(frame) for frame in read] == [0, 1, 2, 3]


async def test_what_cannot_be_read_is_told_as_the_library_does() -> None:
    assert (await failure(b"")).code is ErrorCode.EMPTY_BODY
    text = await failure(b"Not a clip, but a letter. " * 100)
    assert text.code is ErrorCode.UNREADABLE_MEDIA
    cut = await failure(b"\0\0\0\x10ftyp")
    assert cut.code is ErrorCode.UNREADABLE_MEDIA
    with pytest.raises(VistokError) as here, open_clip(b"Not a clip, but a letter. " * 100, ALL, LIMITS):
        pass
    assert text.detail == here.value.detail
    assert (await failure(clip(SCENES)[:500])).code is ErrorCode.UNREADABLE_MEDIA
    for container in ("mp4", "matroska"):
        assert (await failure(clip(SCENES, container), max_bytes=1000)).code is ErrorCode.TOO_LARGE
    assert (await failure(clip(SCENES), Selection(start=Fraction(9)))).code is ErrorCode.INVALID_REQUEST


async def test_a_limit_is_told_when_it_is_passed() -> None:
    body = Body()
    async with clip_reader(ALL, PAD, 16, ClipLimits(max_frames=12), 2**20) as reader:
        feeding = asyncio.create_task(reader.feed(body.pieces()))
        with pytest.raises(VistokError, match="at most 12 frames") as raised:
            [frame async for frame in reader.frames()]
        await feeding
    assert raised.value.code is ErrorCode.TOO_LARGE
    assert reader.count == 12


async def test_what_takes_too_much_memory_costs_the_child_alone() -> None:
    error = await failure(clip(SCENES), fit=Fit(size=(60_000, 60_000)))
    assert error.code is ErrorCode.TOO_LARGE
    assert "memory" in error.detail


async def test_an_index_that_comes_last_is_waited_for_only_so_long() -> None:
    """However much of a clip may be read: what has to be kept for that is on a disk."""
    async with clip_reader(ALL, PAD, 16, LIMITS, 10_000) as reader:
        feeding = asyncio.create_task(
            reader.feed(pieces_of(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\xff\xffmdat" + bytes(20_000)))
        )
        with pytest.raises(VistokError, match="at most 10000 bytes") as refused:
            await reader.head()
        await feeding
    assert refused.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("loop", LOOPS)
def test_a_child_that_dies_is_an_error_of_the_clip(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
            feeding = asyncio.create_task(reader.feed(Body(waits_after=60).pieces()))
            frames = reader.frames()
            await anext(frames)
            os.kill(reader.process_id, signal.SIGKILL)
            with pytest.raises(VistokError, match="brought its decoder down") as raised:
                [frame async for frame in frames]
            await feeding
        assert raised.value.code is ErrorCode.UNREADABLE_MEDIA
        assert "status -9" in caplog.text

    run(loop, main())


async def test_a_child_that_dies_before_its_first_frame_is_one_too() -> None:
    async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
        os.kill(reader.process_id, signal.SIGKILL)
        with pytest.raises(VistokError, match="brought its decoder down"):
            await reader.head()
        await reader.feed(Body(waits_after=60).pieces())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_reading_leaves_nothing(loop: str) -> None:
    async def main() -> None:
        # The executor's threads, of which one is to come, have no descriptors.
        before, begun = descriptors(), asyncio.Event()
        reader: ClipReader

        async def reading() -> None:
            nonlocal reader
            async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader, asyncio.TaskGroup() as tasks:
                tasks.create_task(reader.feed(Body(waits_after=30).pieces()))
                async for _ in reader.frames():
                    begun.set()

        task = asyncio.create_task(reading())
        await begun.wait()
        assert not is_gone(reader.process_id)
        assert descriptors() == before + 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_gone(reader.process_id)
        assert descriptors() == before

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_ends_a_feeding_and_the_child(loop: str) -> None:
    async def main() -> None:
        async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
            full = asyncio.create_task(reader.feed(Body().pieces()))
            await reader.head()
        await full
        assert is_gone(reader.process_id)

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_who_does_not_read_keeps_the_body_waiting(loop: str) -> None:
    async def main() -> None:
        body = Body()
        async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
            feeding = asyncio.create_task(reader.feed(body.pieces()))
            await reader.head()
            # The frames' pipe holds some hundred of these, the body's 14, and FFmpeg what it looks at first.
            assert await settled(lambda: body.taken) < 1000
            frames = reader.frames()
            for _ in range(1500):
                await anext(frames)
            assert not feeding.done()
            feeding.cancel()
        await asyncio.wait([feeding])

    run(loop, main())


async def test_what_the_body_raises_comes_out_of_feed() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield HEADER + grey(50) * 20
        raise ConnectionResetError("gone")

    async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
        feeding = asyncio.create_task(reader.feed(body()))
        assert len([frame async for frame in reader.frames()]) == 20
        with pytest.raises(ConnectionResetError):
            await feeding


async def test_the_child_has_limits() -> None:
    async with clip_reader(ALL, PAD, 16, LIMITS, 2**20) as reader:
        feeding = asyncio.create_task(reader.feed(Body(waits_after=20).pieces()))
        await reader.head()
        limits = Path(f"/proc/{reader.process_id}/limits").read_text().splitlines()
        os.kill(reader.process_id, signal.SIGTERM)
        assert len([await anext(reader.frames()) for _ in range(2)]) == 2
    await feeding
    assert any(line.split()[:5] == ["Max", "address", "space", "4294967296", "4294967296"] for line in limits)
    assert any(line.split()[:5] == ["Max", "core", "file", "size", "0"] for line in limits)
