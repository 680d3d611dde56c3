"""Training a video tokenizer: on clips that are made of photos, and on real ones."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.clips import clip
from tests.conftest import tiny_config, tiny_video_tokenizer_of
from tests.pictures import scene, write_folder
from vistok import VisualTokenizer
from vistok.media.clips.folder import ClipFolder
from vistok.media.sources import PictureSource
from vistok.training.clips import RandomClips
from vistok.training.config import DataConfig, OptimizationConfig, TrainingConfig
from vistok.training.moving import moving_clip
from vistok.training.trainer import train
from vistok_protocol.errors import VistokError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"), 5, height=64, width=80)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, count in (("long", 12), ("short", 3)):
        (folder / f"{name}.mp4").write_bytes(clip([scene(48, 64, seed) for seed in range(count)]))
    (folder / "readme.txt").write_text("no clip")
    return folder


def config(steps: int = 3, frames: int = 5) -> TrainingConfig:
    return TrainingConfig(
        tokenizer=tiny_video_tokenizer_of().config,
        optimization=OptimizationConfig(steps=steps, batch_size=2, warmup_steps=2, ema_decay=0.9),
        data=DataConfig(crop=32, frames=frames, workers=0, smallest_scale=0.7),
    )


def samples(photos: Path, clips: Path | None, share: float) -> RandomClips:
    wanted = DataConfig(crop=32, frames=9, real_clips=share, smallest_scale=0.7)
    folder = ClipFolder.open(clips) if clips else None
    return RandomClips(PictureSource.open(photos), folder, wanted, seed=0, count=20)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_sample_is_decided_by_its_index(photos: Path, clips: Path, share: float) -> None:
    first, again = samples(photos, clips, share), samples(photos, clips, share)
    for index in (7, 3, 0):
        assert torch.equal(first[index], again[index])
    assert (first[0].shape, first[0].dtype) == ((3, 9, 32, 32), torch.uint8)
    assert not torch.equal(first[0], first[1])


def length(sample: torch.Tensor) -> int:
    """Count the frames that differ from the one before."""
    frames = sample.movedim(1, 0)
    return 1 + sum(not torch.equal(before, after) for before, after in pairwise(frames))


def test_real_clips_stand_still_when_they_end(photos: Path, clips: Path) -> None:
    taken = samples(photos, clips, share=1.0)
    assert {length(taken[index]) for index in range(20)} == {3, 9}


def test_clips_made_of_photos_move_as_clips_do() -> None:
    """Most frames are near the one before, some clips stand, some have a cut."""
    photo = Image.fromarray(scene(96, 128))
    other = Image.fromarray(255 - scene(96, 128, 5))
    changes = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        shots = iter([photo, other] * 4)
        made = moving_clip(lambda shots=shots: next(shots), 9, 32, 0.6, random)
        assert (made.shape, made.dtype) == ((9, 32, 32, 3), np.uint8)
        steps = np.abs(np.diff(made.astype(float), axis=0)).mean(axis=(1, 2, 3))
        changes.append(steps)
    change = np.stack(changes)
    assert (change.max(axis=1) == 0).any(), "a clip that stands still"
    assert ((change > 0) & (change < 8)).any(axis=1).mean() > 0.5, "clips that move a little"
    assert (change.max(axis=1) > 40).any(), "a cut"


def test_training_lowers_the_error(photos: Path, clips: Path, tmp_path: Path) -> None:
    still = torch.linspace(-1, 1, 32).expand(1, 3, 9, 32, 32)
    errors = []
    for steps in (1, 150):
        train(config(steps), photos, tmp_path / str(steps), clips)
        tokenizer = VisualTokenizer.from_pretrained(tmp_path / str(steps))
        errors.append((tokenizer.decode(tokenizer.encode(still)) - still).square().mean().item())
    assert tokenizer.kind == "video"
    assert errors[1] < 0.9 * errors[0]


def test_photos_alone_are_enough(photos: Path, tmp_path: Path) -> None:
    train(config(), photos, tmp_path)
    assert VisualTokenizer.from_pretrained(tmp_path).kind == "video"


def test_mistakes_are_named(photos: Path, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(VistokError, match="1 and a multiple of 4, got 6"):
        train(config(frames=6), photos, tmp_path, clips)
    with pytest.raises(VistokError, match="found none"):
        train(config(), photos, tmp_path, photos)
    for_pictures = TrainingConfig(tokenizer=tiny_config(), optimization=OptimizationConfig(steps=1))
    with pytest.raises(VistokError, match="tiny is for pictures: expected no clips"):
        train(for_pictures, photos, tmp_path, clips)
