"""What a video tokenizer shows between the frames that its latent frames stand for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import tiny_video_tokenizer_of
from vistok import bundled
from vistok.autoencoders.motion import Between
from vistok.clips import decode_clip, encode_clip
from vistok.evaluation.psnr import psnr
from vistok.tokenizer import VisualTokenizer

PHOTO = Path(__file__).parents[2] / "docs" / "photo.jpg"


def test_a_fresh_tokenizer_blends(tiny_video_tokenizer: VisualTokenizer) -> None:
    ids = torch.randint(tiny_video_tokenizer.vocabulary_size, (2, 3, 2, 3))
    frames = tiny_video_tokenizer.decode(ids)
    assert frames.shape == (2, 3, 9, 16, 24)
    for moment in range(1, 4):
        blended = torch.lerp(frames[:, :, 4], frames[:, :, 8], moment / 4)
        torch.testing.assert_close(frames[:, :, 4 + moment], blended, rtol=0, atol=1e-4)


def test_a_few_steps_teach_it_how_a_picture_moves() -> None:
    torch.manual_seed(0)
    network = Between(8, 3)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    errors = []
    for _ in range(150):
        wide = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 12), (32, 48), mode="bicubic")
        # Eight pixels to the right from the first to the last.
        frames = torch.stack([wide[..., 8 - 2 * time : 40 - 2 * time] for time in range(5)], dim=1)
        error = (network(frames[:, 0], frames[:, 4]) - frames[:, 1:4]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-10:]) < sum(errors[:10]) / 4


def test_what_comes_later_changes_nothing() -> None:
    tokenizer = tiny_video_tokenizer_of()
    torch.manual_seed(1)
    for weights in tokenizer.autoencoder.decoder.between.parameters():
        weights.data += 0.05 * torch.randn_like(weights)
    ids = torch.randint(tokenizer.vocabulary_size, (1, 4, 2, 3))
    other = ids.clone()
    other[:, 3] = 0
    before, changed = tokenizer.decode(ids), tokenizer.decode(other)
    assert torch.equal(before[:, :, :9], changed[:, :, :9])
    assert not torch.equal(before[:, :, 9:], changed[:, :, 9:])


@pytest.mark.parametrize("name", [name for name in bundled.names() if name.startswith("video-")])
def test_the_bundled_ones_move_what_moves(name: str) -> None:
    tokenizer = VisualTokenizer.from_pretrained(name)
    with Image.open(PHOTO) as photo:
        wide = np.asarray(photo.resize((288, 192)))
    frames = [wide[16:176, 3 * time : 240 + 3 * time] for time in range(9)]
    back = list(decode_clip(tokenizer, encode_clip(tokenizer, frames)))
    moved, blended = [], []
    for time in (5, 6, 7):
        share = (time - 4) / 4
        blend = (1 - share) * back[4] + share * back[8]
        moved.append(psnr(frames[time], back[time]))
        blended.append(psnr(frames[time], blend.round().astype(np.uint8)))
    assert np.mean(moved) > np.mean(blended) + 1.5
    assert np.mean(moved) > psnr(frames[8], back[8]) - 2, "about as good as the frames it is made from"
