"""Clips: what a video tokenizer promises of frames that come whole or in pieces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import QUANTIZERS, SEVERAL, tiny_video_tokenizer_of
from vistok import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError

every_family = pytest.mark.parametrize("family", QUANTIZERS)
many = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# The lengths of pieces; what is left over comes as a last one.
plans = st.lists(st.integers(1, 9), max_size=12)


def clip(frames: int, count: int = 1, height: int = 16, width: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(count, 3, frames, height, width, generator=generator) * 2 - 1


def pieces(whole: Tensor, axis: int, plan: list[int]) -> Iterator[Tensor]:
    left = whole.shape[axis]
    sizes = []
    for size in [*plan, left]:
        sizes.append(min(size, left))
        left -= sizes[-1]
    yield from (piece for piece in whole.split(sizes, dim=axis) if piece.shape[axis])


def encoded_in(tokenizer: VisualTokenizer, whole: Tensor, plan: list[int]) -> Tensor:
    stream = tokenizer.stream_encoder()
    found = [stream.push(piece) for piece in pieces(whole, 2, plan)]
    return torch.cat((*found, stream.finish()), dim=1)


@every_family
@pytest.mark.parametrize(
    ("frames", "latents"), [(1, 1), (2, 2), (4, 2), (5, 2), (6, 3), (9, 3), (16, 5), (17, 5), (18, 6)]
)
def test_a_latent_frame_stands_for_four_frames_and_the_first_for_one(
    family: str, frames: int, latents: int
) -> None:
    tokenizer = tiny_video_tokenizer_of(family)
    ids = tokenizer.encode(clip(frames, count=2))
    assert (ids.shape, ids.dtype) == ((2, latents, 2, 3), torch.int64)
    assert len(ids.unique()) > 1
    back = tokenizer.decode(ids)
    assert back.shape == (2, 3, 1 + 4 * (latents - 1), 16, 24)
    assert back.abs().max() <= 1


@pytest.mark.parametrize("family", QUANTIZERS)
def test_pieces_give_the_ids_of_the_whole(family: str) -> None:
    tokenizer = tiny_video_tokenizer_of(family)

    @many
    @given(frames=st.integers(1, 30), plan=plans)
    def of_any_size(frames: int, plan: list[int]) -> None:
        whole = clip(frames)
        assert torch.equal(encoded_in(tokenizer, whole, plan), tokenizer.encode(whole))

    of_any_size()


@many
@given(latents=st.integers(1, 8), plan=plans)
def test_pieces_of_ids_give_the_frames_of_the_whole(
    tiny_video_tokenizer: VisualTokenizer, latents: int, plan: list[int]
) -> None:
    ids = torch.randint(0, 60, (1, latents, 2, 3), generator=torch.Generator().manual_seed(latents))
    stream = tiny_video_tokenizer.stream_decoder()
    parts = [stream.push(piece) for piece in pieces(ids, 1, plan)]
    assert torch.equal(torch.cat(parts, dim=2), tiny_video_tokenizer.decode(ids))


@pytest.mark.parametrize("family", [*QUANTIZERS, *SEVERAL])
@pytest.mark.parametrize("frames", [7, 13])
@pytest.mark.parametrize("count", [1, 3])
def test_a_stream_goes_on_elsewhere(count: int, frames: int, family: str, tmp_path: Path) -> None:
    """In another process, say, with a tokenizer of its own: the past is all that it needs."""
    here, there = tiny_video_tokenizer_of(family), tiny_video_tokenizer_of(family)
    whole = clip(frames, count=count)
    begun = here.stream_encoder()
    ids = [begun.push(whole[:, :, :5])]
    torch.save(begun.past, tmp_path / "past")
    goes_on = there.stream_encoder(torch.load(tmp_path / "past"))
    ids += [goes_on.push(whole[:, :, 5:]), goes_on.finish()]
    assert torch.equal(torch.cat(ids, dim=1), here.encode(whole))
    first = here.stream_decoder()
    frames = [first.push(ids[0])]
    frames.append(there.stream_decoder(first.past).push(torch.cat(ids[1:], dim=1)))
    assert torch.equal(torch.cat(frames, dim=2), here.decode(here.encode(whole)))


def test_pieces_are_what_the_network_gives_for_the_whole(tiny_video_tokenizer: VisualTokenizer) -> None:
    """The networks, which training runs over whole clips, and streams agree."""
    whole = clip(33)
    with torch.inference_mode():
        pixels, quantized = tiny_video_tokenizer(whole)
    ids = tiny_video_tokenizer.encode(whole)
    assert (quantized.ids == ids).float().mean() > 0.99
    frames = tiny_video_tokenizer.decode(quantized.ids)
    assert torch.allclose(frames, pixels.clamp(-1, 1), atol=1e-5)


def test_ids_come_as_soon_as_they_are_determined(tiny_video_tokenizer: VisualTokenizer) -> None:
    encoder, decoder = tiny_video_tokenizer.stream_encoder(), tiny_video_tokenizer.stream_decoder()
    latents, frames = [], []
    for frame in clip(14).split(1, dim=2):
        ids = encoder.push(frame)
        latents.append(ids.shape[1])
        frames.append(decoder.push(ids).shape[2] if latents[-1] else 0)
    assert latents == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert frames == [1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0]
    assert encoder.frames == 14
    assert encoder.finish().shape == (1, 1, 2, 3)


@many
@given(length=st.integers(0, 7), extra=st.integers(1, 12))
def test_the_beginning_of_a_clip_has_the_beginning_of_its_ids(
    tiny_video_tokenizer: VisualTokenizer, length: int, extra: int
) -> None:
    frames = 1 + 4 * length
    whole = clip(frames + extra)
    ids, of_beginning = (tiny_video_tokenizer.encode(part) for part in (whole, whole[:, :, :frames]))
    assert torch.equal(ids[:, : 1 + length], of_beginning)
    later = whole.clone()
    later[:, :, frames:] = -later[:, :, frames:]
    changed = tiny_video_tokenizer.encode(later)
    assert torch.equal(changed[:, : 1 + length], of_beginning)
    assert not torch.equal(changed, ids)


def test_what_was_shown_before_counts(tiny_video_tokenizer: VisualTokenizer) -> None:
    whole = clip(17)
    ids = tiny_video_tokenizer.encode(whole)
    alone = tiny_video_tokenizer.encode(whole[:, :, 13:])
    assert not torch.equal(ids[:, -1:], alone[:, -1:])
    frames, of_last = (tiny_video_tokenizer.decode(part) for part in (ids, ids[:, -1:]))
    assert not torch.equal(frames[:, :, -1], of_last[:, :, -1])


@pytest.mark.parametrize("frames", [1, 9])
def test_ids_do_not_depend_on_the_other_clips(tiny_video_tokenizer: VisualTokenizer, frames: int) -> None:
    clips = clip(frames, count=3)
    together = tiny_video_tokenizer.encode(clips)
    alone = torch.cat([tiny_video_tokenizer.encode(one) for one in clips.split(1)])
    assert torch.equal(together, alone)
    tiny_video_tokenizer.batch_invariant = False
    assert (tiny_video_tokenizer.encode(clips) == together).float().mean() > 0.95


def test_a_clip_that_stands_still_stays_as_it_began(tiny_video_tokenizer: VisualTokenizer) -> None:
    """A picture is a clip that stands still: what stands before a clip is its first frame."""
    still = clip(1).expand(-1, -1, 17, -1, -1)
    ids = tiny_video_tokenizer.encode(still)
    assert torch.equal(ids, ids[:, :1].expand_as(ids))


@every_family
def test_a_saved_video_tokenizer_comes_back_the_same(family: str, tmp_path: Path) -> None:
    tokenizer = tiny_video_tokenizer_of(family)
    tokenizer.save_pretrained(tmp_path)
    loaded = VisualTokenizer.from_pretrained(tmp_path)
    assert loaded.describe() == tokenizer.describe()
    assert (loaded.kind, loaded.describe().temporal_factor) == ("video", 4)
    assert torch.equal(loaded.encode(clip(9)), tokenizer.encode(clip(9)))


def test_the_quantizer_alone(tiny_video_tokenizer: VisualTokenizer) -> None:
    with torch.inference_mode():
        features = tiny_video_tokenizer.autoencoder.encode(clip(9))
        ids = tiny_video_tokenizer.quantize(features)
        frames = tiny_video_tokenizer.autoencoder.decode(tiny_video_tokenizer.lookup(ids)).clamp(-1, 1)
    assert torch.equal(ids, tiny_video_tokenizer.encode(clip(9)))
    torch.testing.assert_close(frames, tiny_video_tokenizer.decode(ids), rtol=0, atol=1e-5)
    with pytest.raises(VistokError, match=r"expected a feature map \(b d t h w\) with d = 3"):
        tiny_video_tokenizer.quantize(features[:, :, 0])


def test_mistakes_are_named(tiny_video_tokenizer: VisualTokenizer, tiny_tokenizer: VisualTokenizer) -> None:
    def refused(code: ErrorCode, words: str) -> pytest.RaisesExc[VistokError]:
        return pytest.RaisesExc(VistokError, match=words, check=lambda error: error.code is code)

    with refused(ErrorCode.INVALID_REQUEST, "tiny is for pictures"):
        tiny_tokenizer.stream_encoder()
    with refused(ErrorCode.INVALID_SHAPE, r"clips \(b 3 t h w\)"):
        tiny_video_tokenizer.encode(clip(1)[:, :, 0])
    with refused(ErrorCode.INVALID_SHAPE, r"pictures \(b 3 h w\)"):
        tiny_tokenizer.encode(clip(1))
    with refused(ErrorCode.INVALID_SHAPE, r"whole numbers \(b t h w\)"):
        tiny_video_tokenizer.decode(torch.zeros(1, 2, 3, dtype=torch.int64))
    stream = tiny_video_tokenizer.stream_encoder()
    with refused(ErrorCode.INVALID_REQUEST, "at least one frame"):
        stream.finish()
    stream.push(clip(2))
    with refused(ErrorCode.INVALID_SHAPE, r"1 clips of \(16, 24\), as they began, got 1 of \(24, 24\)"):
        stream.push(clip(2, height=24))
    with refused(ErrorCode.INVALID_ARRAY, r"pixels in \[-1, 1\]"):
        stream.push(clip(2) * 100)
    assert stream.frames == 2
    assert stream.finish().shape[1] == 1
    for late in (lambda: stream.push(clip(2)), stream.finish):
        with refused(ErrorCode.INVALID_REQUEST, "has ended"):
            late()


_STREAMED = """
import resource, sys, torch
torch.set_num_threads(1)
from tests.conftest import tiny_video_tokenizer_of
tokenizer = tiny_video_tokenizer_of()
encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
for _ in range(int(sys.argv[1]) // 100):
    decoder.push(encoder.push(torch.rand(1, 3, 100, 32, 32) * 2 - 1))
print(encoder.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip() -> None:
    used = []
    for frames in (200, 20_000):
        command = [sys.executable, "-c", _STREAMED, str(frames)]
        count, peak = map(int, subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split())
        assert count == frames
        used.append(peak)
    assert used[1] < 1.1 * used[0]
