"""Each family's checkpoints, as it publishes them: recognized, read, and doing what their weights say."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tokenizer.foreign.published import PUBLISHED
from vistok import VisualTokenizer
from vistok_protocol.errors import VistokError


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_does_what_it_did(name: str, tmp_path: Path, pixels: torch.Tensor) -> None:
    published = PUBLISHED[name]
    ours = published.tokenizer()
    published.publish(ours, tmp_path)
    loaded = VisualTokenizer.from_pretrained(tmp_path)
    assert loaded.config.origin is not None
    assert loaded.config.origin.family == published.family
    assert loaded.config.autoencoder == ours.config.autoencoder
    ids = ours.encode(pixels)
    assert len(ids.unique()) > 20
    assert torch.equal(loaded.encode(pixels), ids)
    torch.testing.assert_close(loaded.decode(ids), ours.decode(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_converted_stays_what_it_was(name: str, tmp_path: Path, pixels: torch.Tensor) -> None:
    published = PUBLISHED[name]
    published.publish(published.tokenizer(), tmp_path / "theirs")
    theirs = VisualTokenizer.from_pretrained(tmp_path / "theirs")
    theirs.save_pretrained(tmp_path / "ours")
    ours = VisualTokenizer.from_pretrained(tmp_path / "ours")
    assert ours.config == theirs.config
    assert ours.fingerprint == theirs.fingerprint
    assert torch.equal(ours.encode(pixels), theirs.encode(pixels))


def test_a_file_is_enough_where_it_says_all(tmp_path: Path) -> None:
    published = PUBLISHED["llamagen"]
    published.publish(published.tokenizer(), tmp_path)
    assert VisualTokenizer.from_pretrained(tmp_path / "vq_ds16_c2i.pt").name == "vq_ds16_c2i"


def test_names_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    published = PUBLISHED["taming"]
    published.publish(published.tokenizer(), tmp_path)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)
    del saved["state_dict"]["decoder.norm_out.bias"]
    saved["state_dict"]["decoder.surprise.weight"] = torch.zeros(1)
    torch.save(saved, tmp_path / "last.ckpt")
    with pytest.raises(VistokError) as caught:
        VisualTokenizer.from_pretrained(tmp_path)
    assert "decoder.norm_out.bias" in caught.value.detail
    assert "decoder.surprise.weight" in caught.value.detail


_GOLDEN = Path(os.environ.get("GOLDEN_TOKENIZERS", "nowhere"))
_GOLDEN_RANGES = {"commavq": (0, 255), "maskgit-vq": (0, 1), "maskbit": (0, 1)}


@pytest.mark.skipif(not _GOLDEN.is_dir(), reason="GOLDEN_TOKENIZERS names no folder of the originals' ids")
@pytest.mark.parametrize("folder", sorted(_GOLDEN.glob("*/recon.npy")), ids=lambda file: file.parent.name)
def test_the_originals_agree(folder: Path) -> None:
    """Folders with a checkpoint, `input.npy` uint8, and the original's `indices.npy` and `recon.npy`."""
    folder = folder.parent
    tokenizer = VisualTokenizer.from_pretrained(folder)
    assert tokenizer.config.origin is not None
    pixels = torch.from_numpy(np.load(folder / "input.npy")).float().movedim(-1, 1) / 127.5 - 1
    ids = torch.from_numpy(np.load(folder / "indices.npy")).long()
    assert torch.equal(tokenizer.encode(pixels), ids)
    black, white = _GOLDEN_RANGES.get(tokenizer.config.origin.family, (-1, 1))
    theirs = torch.from_numpy(np.load(folder / "recon.npy")).movedim(-1, 1)
    theirs = ((theirs - black) / (white - black) * 2 - 1).clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(ids), theirs, atol=1e-4, rtol=0)
