"""Cosmos Tokenizer: small ones of ours, written as NVIDIA writes its own, do what they did."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenizer.foreign.scripts import write_script
from vistok import VisualTokenizer
from vistok.autoencoders.cosmos.wavelets import OF_CLIPS, OF_PICTURES, to_channels, to_pixels
from vistok.autoencoders.memory import Memory
from vistok.config import TokenizerConfig
from vistok_protocol.errors import ErrorCode, VistokError

Weights = dict[str, Tensor]
LEVELS = [8, 5, 5, 5]
AROUND = {"latent_dim": len(LEVELS), "feature_dim": 6, "stem": 32, "patch": 4}
PICTURES = {
    **AROUND,
    "type": "cosmos",
    "encoder": {
        "widths": [32, 64, 64],
        "blocks": [1, 1, 1],
        "attention": [False, True, False],
        "resized": [True, False, False],
    },
    "decoder": {
        "widths": [32, 64, 64],
        "blocks": [2, 2, 2],
        "attention": [False, True, False],
        "resized": [False, False, True],
    },
}
_MIDDLE = (
    (r"\.mid\.0\.", ".mid.block_1."),
    (r"\.mid\.1\.", ".mid.attn_1."),
    (r"\.mid\.2\.", ".mid.block_2."),
)
_OF_CLIPS = (
    (r"\.(conv_in|conv_out|conv[12]|mid\.1|attn\.\d+)\.space\.", r".\1.0."),
    (r"\.(conv_in|conv_out|conv[12]|mid\.1|attn\.\d+)\.time\.", r".\1.1."),
    (r"downsample\.space\.", "downsample.conv1."),
    (r"downsample\.time\.", "downsample.conv2."),
    (r"upsample\.time\.", "upsample.conv1."),
    (r"upsample\.space\.", "upsample.conv2."),
    (r"sample\.out\.", "sample.conv3."),
    (r"(norm\w*)\.(weight|bias)$", r"\1.norm.\2"),
    (r"((?:conv\w*|\.[qkv]|proj_out|nin_shortcut|conv[123]|\.[01]))\.(weight|bias)$", r"\1.conv3d.\2"),
)


def clips(temporal_factor: int, legacy: bool = False) -> dict[str, Any]:
    is_longer = temporal_factor == 8
    widths = {"widths": [8, 16, 16], "attention": [False, True, False]}
    up = [False, is_longer and not legacy, (not is_longer) or legacy]
    return {
        **AROUND,
        "stem": 8,
        "type": "cosmos_video",
        "encoder": {
            **widths,
            "blocks": [1, 1, 1],
            "resized": [True, False, False],
            "retimed": [is_longer, False, False],
        },
        "decoder": {
            **widths,
            "blocks": [2, 2, 2],
            "resized": up,
            "retimed": [is_longer and place for place in up],
        },
    }


def clip(frames: int, count: int = 1) -> Tensor:
    # Of squares: the means of patches of noise are all alike.
    squares = torch.rand(count, 3, frames, 4, 6, generator=torch.Generator().manual_seed(frames)) * 2 - 1
    return squares.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)


def tokenizer_of(networks: dict[str, Any]) -> VisualTokenizer:
    values = {
        "name": "ours",
        "kind": "video" if networks["type"] == "cosmos_video" else "image",
        "autoencoder": networks,
        "quantizer": {"type": "FSQ", "arguments": {"levels": LEVELS}},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = VisualTokenizer(TokenizerConfig.model_validate(values))
        for parameter in tokenizer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        spread(tokenizer, clip(1 + 2 * 8) if tokenizer.kind == "video" else clip(1)[:, :, 0])
        for parameter in tokenizer.parameters():
            # As they are published.
            parameter.data = parameter.data.bfloat16().float()
    return tokenizer


@torch.no_grad()
def spread(tokenizer: VisualTokenizer, sample: Tensor) -> None:
    """Fresh features lie close together: let many ids occur."""
    last, features = tokenizer.autoencoder.quant_conv, tokenizer.autoencoder.encode(sample)
    deviation, mean = torch.std_mean(features.movedim(1, -1).flatten(0, -2), dim=0)
    last.weight /= deviation[:, None, None, None]
    last.bias.sub_(mean).div_(deviation)


def published(tokenizer: VisualTokenizer) -> Weights:
    """Name the weights as NVIDIA does."""
    weights = {
        name.removeprefix("autoencoder."): weight.contiguous().bfloat16()
        for name, weight in tokenizer.state_dict().items()
        if name.startswith("autoencoder.")
    }
    if tokenizer.kind == "image":
        return renamed(weights, _MIDDLE)
    weights = {name: with_time(name, weight) for name, weight in weights.items()}
    weights = renamed(weights, _OF_CLIPS + _MIDDLE)
    # Every level but one has all convolutions for a change of size, used or not.
    for side, levels in (("encoder.down", (0, 1)), ("decoder.up", (1, 2))):
        kind = "downsample" if side == "encoder.down" else "upsample"
        for level in levels:
            for number in (1, 2, 3):
                weights.setdefault(f"{side}.{level}.{kind}.conv{number}.conv3d.weight", torch.ones(3))
    return weights


def with_time(name: str, weight: Tensor) -> Tensor:
    if weight.ndim < 4:
        return weight
    in_time = re.search(r"\.time\.weight$", name)
    return weight.unflatten(1, (3, -1)).transpose(1, 2).contiguous() if in_time else weight.unsqueeze(2)


def renamed(weights: Weights, rules: tuple[tuple[str, str], ...]) -> Weights:
    for pattern, replacement in rules:
        weights = {re.sub(pattern, replacement, name): weight for name, weight in weights.items()}
    return weights


def write_state(weights: Weights, folder: Path) -> None:
    model = {f"network.{name}": weight for name, weight in weights.items()}
    torch.save({"model": model, "optimizer": {}, "iteration": 3}, folder / "model.pt")


def write_archives(weights: Weights, folder: Path) -> None:
    patches = {
        side: {f"{side}.{patcher}.wavelets": torch.ones(2), f"{side}.{patcher}._arange": torch.arange(2)}
        for side, patcher in (("encoder", "patcher"), ("decoder", "unpatcher3d"))
    }
    levels = torch.tensor(LEVELS, dtype=torch.int32)
    before = {n: w for n, w in weights.items() if n.startswith(("encoder.", "quant_conv."))}
    behind = {n: w for n, w in weights.items() if n not in before}
    write_script(folder / "encoder.jit", {**patches["encoder"], **before, "quantizer._levels": levels})
    write_script(
        folder / "decoder.jit", {"inv_quant.quantizer._levels": levels, **behind, **patches["decoder"]}
    )


def write_config(folder: Path, **values: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"levels": LEVELS, **values}))


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("write", [write_state, write_archives])
def test_pictures(write: Callable[[Weights, Path], None], tmp_path: Path, pixels: Tensor) -> None:
    ours = tokenizer_of(PICTURES)
    write(published(ours), tmp_path)
    write_config(tmp_path)
    loaded = VisualTokenizer.from_pretrained(tmp_path)
    assert loaded.config.origin is not None
    assert loaded.config.origin.family == "cosmos-di"
    assert loaded.config.autoencoder == ours.config.autoencoder
    assert loaded.describe().spatial_factor == 8
    ids = ours.encode(pixels)
    assert ids.shape == (2, 4, 6)
    assert len(ids.unique()) > 20
    assert torch.equal(loaded.encode(pixels), ids)
    assert torch.equal(loaded.decode(ids), ours.decode(ids))
    assert loaded.fingerprint == ours.fingerprint


@pytest.mark.parametrize("write", [write_state, write_archives])
@pytest.mark.parametrize(("factor", "legacy"), [(4, False), (8, False), (8, True)])
def test_clips(write: Callable[[Weights, Path], None], factor: int, legacy: bool, tmp_path: Path) -> None:
    ours = tokenizer_of(clips(factor, legacy))
    write(published(ours), tmp_path)
    write_config(tmp_path, temporal_compression=factor, spatial_compression=8, legacy_mode=legacy)
    loaded = VisualTokenizer.from_pretrained(tmp_path)
    assert loaded.config.origin is not None
    assert loaded.config.origin.family == "cosmos-dv"
    assert loaded.config.autoencoder == ours.config.autoencoder
    assert (loaded.kind, loaded.temporal_factor, loaded.factor) == ("video", factor, 8)
    ids = ours.encode(clip(1 + 2 * factor))
    assert ids.shape == (1, 3, 2, 3)
    assert len(ids.unique()) > 8
    assert torch.equal(loaded.encode(clip(1 + 2 * factor)), ids)
    assert torch.equal(loaded.decode(ids), ours.decode(ids))
    assert loaded.decode(ids).shape == (1, 3, 1 + 2 * factor, 16, 24)


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("plan", [[1] * 25, [5, 20], [2, 3, 13, 7], [24, 1]])
def test_pieces_of_a_clip_give_the_ids_of_the_whole(factor: int, plan: list[int]) -> None:
    tokenizer = tokenizer_of(clips(factor))
    whole = clip(25, count=2)
    stream = tokenizer.stream_encoder()
    found = [stream.push(piece) for piece in whole.split(plan, dim=2)]
    assert torch.equal(torch.cat([*found, stream.finish()], dim=1), tokenizer.encode(whole))


@pytest.mark.parametrize("factor", [4, 8])
def test_a_network_does_the_same_in_pieces_as_at_once(factor: int) -> None:
    tokenizer = tokenizer_of(clips(factor))
    autoencoder, whole = tokenizer.autoencoder, clip(1 + 3 * factor)
    memory, further = Memory(), Memory()
    sizes = [1 + factor, 2 * factor]
    with torch.inference_mode():
        features = autoencoder.encode(whole)
        parts = [autoencoder.encode(piece, memory) for piece in whole.split(sizes, dim=2)]
        torch.testing.assert_close(torch.cat(parts, dim=2), features, atol=1e-4, rtol=0)
        codes = tokenizer.lookup(tokenizer.encode(whole))
        frames = autoencoder.decode(codes)
        decoded = [autoencoder.decode(piece, further) for piece in codes.split([1, 1, 2], dim=2)]
        torch.testing.assert_close(torch.cat(decoded, dim=2), frames, atol=1e-4, rtol=0)
        # Nothing depends on what comes later.
        torch.testing.assert_close(autoencoder.encode(whole[:, :, :1]), features[:, :, :1], atol=1e-4, rtol=0)


def test_of_a_clip_only_what_attention_needs_is_kept() -> None:
    tokenizer = tokenizer_of(clips(4))
    stream = tokenizer.stream_encoder()
    kept = []
    for frames in clip(9).split([1, 4, 4], dim=2):
        stream.push(frames)
        kept.append([tensor.shape[1] for tensor in stream.past])
    assert len(kept[0]) == len(kept[2])
    growing = [after for before, after in zip(kept[0], kept[2], strict=True) if before != after]
    assert growing == [3, 3]
    again = tokenizer.stream_encoder(stream.past)
    assert torch.equal(again.push(clip(13)[:, :, 9:]), stream.push(clip(13)[:, :, 9:]))


@pytest.mark.parametrize(
    "name", ["Cosmos-0.1-DV4x8x8", "models--nvidia--Cosmos-Tokenizer-DV4x8x8/snapshots/0a1b"]
)
def test_factors_are_found_in_names(name: str, tmp_path: Path) -> None:
    ours = tokenizer_of(clips(4))
    folder = tmp_path / name
    folder.mkdir(parents=True)
    write_archives(published(ours), folder)
    assert VisualTokenizer.from_pretrained(folder).config.autoencoder == ours.config.autoencoder


def test_levels_may_lie_beside_the_weights(tmp_path: Path) -> None:
    weights = published(tokenizer_of(PICTURES))
    write_state({**weights, "quantizer._levels": torch.tensor(LEVELS)}, tmp_path)
    assert VisualTokenizer.from_pretrained(tmp_path).vocabulary_size == 1000


def test_factors_that_cannot_be_are_refused(tmp_path: Path) -> None:
    write_archives(published(tokenizer_of(clips(4))), tmp_path)
    write_config(tmp_path, temporal_compression=2, spatial_compression=8)
    assert "factors" in refused(tmp_path)


def refused(folder: Path) -> str:
    with pytest.raises(VistokError) as caught:
        VisualTokenizer.from_pretrained(folder)
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    return str(caught.value)


def test_what_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    write_archives(published(tokenizer_of(clips(4))), tmp_path)
    assert "temporal_compression" in refused(tmp_path)


def test_one_network_alone_is_refused(tmp_path: Path) -> None:
    write_archives(published(tokenizer_of(PICTURES)), tmp_path)
    (tmp_path / "decoder.jit").unlink()
    assert "decoder" in refused(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    weights = published(tokenizer_of(PICTURES))
    del weights["encoder.down.1.block.0.conv1.weight"]
    write_archives(weights, tmp_path)
    assert "encoder.down.1.block.0.conv1.weight" in refused(tmp_path)


def test_tokenizers_without_ids_and_other_patches_are_refused(tmp_path: Path) -> None:
    write_state(published(tokenizer_of(PICTURES)), tmp_path)
    assert "4 channels" in refused(tmp_path)
    write_config(tmp_path, patch_method="rearrange")
    assert "rearrange" in refused(tmp_path)


def test_wavelets_are_means_and_differences() -> None:
    square = torch.tensor([[1.0, 3.0], [5.0, 15.0]])[None, None]
    mean, down, right, cross = to_channels(square, 2, OF_PICTURES).flatten()
    # Half the difference along the rows is second, along the columns third.
    assert (mean, down, right, cross) == (6.0, -4.0, -3.0, 2.0)
    frames = torch.tensor([[0.0, 0.0, 0.0, 0.0], [8.0, 8.0, 8.0, 8.0]]).reshape(1, 1, 2, 2, 2)
    assert to_channels(frames, 2, OF_CLIPS).flatten().tolist() == [4, 0, 0, 0, -4, 0, 0, 0]


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize(("shape", "axes"), [((2, 3, 8, 12), OF_PICTURES), ((2, 3, 4, 8, 12), OF_CLIPS)])
def test_wavelets_can_be_undone(patch: int, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    pixels = torch.rand(shape)
    channels = to_channels(pixels, patch, axes)
    assert channels.shape[1] == 3 * patch ** len(axes)
    assert channels.numel() == pixels.numel()
    torch.testing.assert_close(to_pixels(channels, patch, axes), pixels)
