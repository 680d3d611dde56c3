"""Clips written in real child processes: bytes while frames come, whatever becomes of the child."""

import asyncio
import os
import signal
from fractions import Fraction

import numpy as np
import pytest

from tests.clips import number_of, numbered
from tests.server.clips.processes import LOOPS, descriptors, is_gone, noise, run, settled
from vistok.media.clips.formats import ClipFormat
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.clips.writing import ClipEncoder, clip_writer

FORMATS: list[ClipFormat] = ["mp4", "webm", "gif", "webp"]
TEN = Fraction(10)


async def write_all(writer: ClipEncoder, frames: list[np.ndarray]) -> None:
    for frame in frames:
        await writer.write(frame)
    await writer.finish()


async def written(clip_format: ClipFormat, frames: list[np.ndarray], fps: Fraction = TEN) -> bytes:
    height, width = frames[0].shape[:2]
    async with clip_writer(clip_format, height, width, fps) as writer, asyncio.TaskGroup() as tasks:
        tasks.create_task(write_all(writer, frames))
        data = b"".join([piece async for piece in writer.pieces()])
    assert is_gone(writer.process_id)
    return data


@pytest.mark.parametrize("clip_format", FORMATS)
async def test_a_clip_is_read_as_it_was_written(clip_format: ClipFormat) -> None:
    frames = numbered(12, 49, 66)
    data = await written(clip_format, frames)
    with open_clip(data, Selection(), ClipLimits()) as clip:
        assert (clip.height, clip.width, clip.fps) == (49, 66, TEN)
        assert [number_of(frame) for frame in clip.frames] == list(range(12))


async def test_frames_of_megabytes_go_whole() -> None:
    data = await written("mp4", numbered(3, 1080, 1920), Fraction(30000, 1001))
    with open_clip(data, Selection(), ClipLimits()) as clip:
        assert (clip.height, clip.width, clip.fps) == (1080, 1920, Fraction(30000, 1001))
        assert [number_of(frame) for frame in clip.frames] == [0, 1, 2]


@pytest.mark.parametrize("loop", LOOPS)
def test_bytes_come_before_the_last_frame(loop: str) -> None:
    async def main() -> None:
        async with clip_writer("mp4", 48, 64, TEN) as writer:
            pieces = writer.pieces()
            for frame in numbered(20):
                await writer.write(frame)
            data = b""
            while b"moof" not in data:
                data += await anext(pieces)
            await writer.write(numbered(21)[-1])
            await writer.finish()
            data += b"".join([piece async for piece in pieces])
        with open_clip(data, Selection(), ClipLimits()) as clip:
            assert [number_of(frame) for frame in clip.frames] == list(range(21))

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_who_does_not_read_keeps_the_frames_waiting(loop: str) -> None:
    async def main() -> None:
        count, frame = 0, noise(192, 256)

        async def write(writer: ClipEncoder) -> None:
            nonlocal count
            while True:
                await writer.write(frame if count % 2 else frame[::-1])
                count += 1

        async with clip_writer("mp4", 192, 256, TEN) as writer:
            writing = asyncio.create_task(write(writer))
            pieces = writer.pieces()
            await anext(pieces)
            stopped_at = await settled(lambda: count)
            assert stopped_at < 100
            while count < stopped_at + 30:
                await anext(pieces)
        # The context is left: a frame that waits finds nobody who takes it.
        with pytest.raises(VistokError, match="takes no more frames"):
            await writing
        assert is_gone(writer.process_id)

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_child_that_dies_is_an_error_of_ours(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with clip_writer("mp4", 48, 64, TEN) as writer:
            pieces = writer.pieces()
            await write_some(writer, 5)
            await anext(pieces)
            os.kill(writer.process_id, signal.SIGKILL)
            with pytest.raises(VistokError) as raised:
                [piece async for piece in pieces]
            assert raised.value.code is ErrorCode.INTERNAL
            with pytest.raises(VistokError) as refused:
                await write_some(writer, 5)
            assert refused.value.code is ErrorCode.INTERNAL
        assert "status -9" in caplog.text

    run(loop, main())


async def write_some(writer: ClipEncoder, count: int) -> None:
    for frame in numbered(count):
        await writer.write(frame)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_writing_leaves_nothing(loop: str) -> None:
    async def main() -> None:
        before, begun = descriptors(), asyncio.Event()
        writer: ClipEncoder

        async def writing() -> None:
            nonlocal writer
            async with clip_writer("webm", 48, 64, TEN) as writer, asyncio.TaskGroup() as tasks:
                tasks.create_task(write_some(writer, 30))
                async for _ in writer.pieces():
                    begun.set()

        task = asyncio.create_task(writing())
        await begun.wait()
        assert descriptors() == before + 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_gone(writer.process_id)
        assert descriptors() == before

    run(loop, main())


async def failure(clip_format: ClipFormat, height: int, width: int, fps: Fraction) -> VistokError:
    async with clip_writer(clip_format, height, width, fps) as writer:
        await writer.finish()
        with pytest.raises(VistokError) as raised:
            [piece async for piece in writer.pieces()]
    return raised.value


async def test_what_cannot_be_written_is_told_as_the_library_does() -> None:
    assert (await failure("mp4", 48, 64, TEN)).detail == "expected at least one frame, got none"
    assert (await failure("mp4", 48, 64, Fraction(2000))).code is ErrorCode.INVALID_REQUEST
    assert (await failure("webp", 48, 20_000, TEN)).code is ErrorCode.INVALID_REQUEST


async def test_other_frames_are_refused() -> None:
    async with clip_writer("mp4", 48, 64, TEN) as writer:
        for frame in (np.zeros((48, 63, 3), np.uint8), np.zeros((48, 64, 3), np.float32)):
            with pytest.raises(VistokError) as raised:
                await writer.write(frame)
            assert raised.value.code is ErrorCode.INVALID_SHAPE
