"""Clips through workers, piece by piece: real processes, which may die."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from tests.pictures import scene
from vistok import VisualTokenizer
from vistok.clips import decode_clip, encode_clip
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.app import create_app
from vistok_server.clips.pieces import ClipTokenizing
from vistok_server.engine import Engine
from vistok_server.jobs import Sender
from vistok_server.settings import Settings
from vistok_server.tokenizing import Tokenizing

FRAMES = [scene(24, 40, seed) for seed in range(43)]


@pytest.fixture
async def engine(tiny_video_folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    limits = getattr(request, "param", {})
    settings = Settings(tokenizers=(str(tiny_video_folder),), devices=("cpu",), torch_threads=1024, **limits)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await app.state.engine.served.loaded
        yield app.state.engine


def clips_of(engine: Engine) -> ClipTokenizing:
    return ClipTokenizing(Tokenizing(engine, Sender("test"), engine.tokenizer("tiny")))


async def given(frames: list[np.ndarray], taken: list[int] | None = None) -> AsyncIterator[np.ndarray]:
    for index, frame in enumerate(frames):
        if taken is not None:
            taken.append(index)
        yield frame


@pytest.mark.parametrize("count", [1, 2, 17, 33, 43])
async def test_a_clip_has_the_ids_of_the_library(
    engine: Engine, tiny_video_tokenizer: VisualTokenizer, count: int
) -> None:
    pieces = [piece.ids async for piece in clips_of(engine).encode(given(FRAMES[:count]))]
    grid = encode_clip(tiny_video_tokenizer, FRAMES[:count])
    assert np.array_equal(np.concatenate(pieces), grid.ids)
    shown = [piece async for piece in clips_of(engine).decode(grid.ids, count)]
    assert np.array_equal(np.concatenate(shown), list(decode_clip(tiny_video_tokenizer, grid)))
    assert [len(piece) for piece in shown[:2]] == [1, min(16, count - 1)][: len(shown)]


async def test_a_worker_that_dies_in_the_middle_costs_no_clip(
    engine: Engine, tiny_video_tokenizer: VisualTokenizer
) -> None:
    (supervisor,) = engine._supervisors
    pieces = []
    async for piece in clips_of(engine).encode(given(FRAMES)):
        pieces.append(piece.ids)
        if len(pieces) == 2:
            os.kill(supervisor._worker.process_id, signal.SIGKILL)
    assert np.array_equal(np.concatenate(pieces), encode_clip(tiny_video_tokenizer, FRAMES).ids)


async def test_frames_are_fetched_no_further_than_they_are_wanted(engine: Engine) -> None:
    taken: list[int] = []
    async with aclosing(clips_of(engine).encode(given(FRAMES * 5, taken))) as ids:
        assert (await anext(ids)).ids.shape == (1, 3, 5)
        await anext(ids)
        # Of the piece that was done, and of the next one.
        assert len(taken) <= 1 + 2 * 16 + 16
    assert engine.waiting == 0


@pytest.mark.parametrize("engine", [{"max_batch_bytes": 2_000_000}], indirect=True)
async def test_frames_for_which_there_is_no_memory_are_refused(engine: Engine) -> None:
    large = [scene(512, 512, 0)] * 2
    assert [piece async for piece in clips_of(engine).encode(given(FRAMES[:5]))]
    with pytest.raises(VistokError, match="got 262144") as refused:
        [piece async for piece in clips_of(engine).encode(given(large))]
    assert refused.value.code is ErrorCode.TOO_LARGE
