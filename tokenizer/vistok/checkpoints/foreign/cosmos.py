"""Cosmos Tokenizer (NVIDIA, arXiv:2501.03575), the discrete ones: as TorchScript archives, or `model.pt`.

Weights lie in `encoder.jit` and `decoder.jit`, most of them as bfloat16; they are used in float32, so that
ids do not depend on how a device rounds. What no weight tells is in the constructor's arguments, which
NVIDIA keeps in code; it is read from a config where somebody has written them down, and factors of video
tokenizers else from names such as `Cosmos-Tokenizer-DV4x8x8`.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from vistok.autoencoders.cosmos.config import CosmosConfig, CosmosVideoConfig, VideoSideConfig
from vistok.checkpoints.foreign.family import Converted, Family
from vistok.checkpoints.foreign.renaming import MIDDLE, Rule, Weights, count, renamed, within
from vistok.checkpoints.foreign.source import Source
from vistok.config import QuantizerConfig, parse
from vistok_protocol.errors import ErrorCode, VistokError

_LICENCE = "NVIDIA Open Model License"
_COLOURS = 3
_INSIDE = "network."
_NETWORKS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
# What the modules that make patches have for constants.
_CONSTANTS = re.compile(r"\.(?:un)?patcher(?:3d)?\.")
_LEVELS = "quantizer._levels"
_PUBLISHED_LEVELS = [8, 8, 8, 5, 5, 5]
_FACTORS = re.compile(r"(\d{1,2})x(\d{1,2})x\2(?!\d)")
# Of a path: a file in a hub's cache lies in a commit's folder among the snapshots of what has the name.
_NAMES = 4
_RESIZING = re.compile(r"(encoder|decoder)\.(?:down|up)\.(\d+)\.(?:down|up)sample\.(space|time|out)\.")
_VIDEO_RULES: tuple[Rule, ...] = (
    (r"\.conv3d\.(weight|bias)$", r".\1"),
    (r"\.norm\.(weight|bias)$", r".\1"),
    *MIDDLE,
    (r"\.(conv_in|conv_out|conv[12]|mid\.1|attn\.\d+)\.0\.", r".\1.space."),
    (r"\.(conv_in|conv_out|conv[12]|mid\.1|attn\.\d+)\.1\.", r".\1.time."),
    (r"\.downsample\.conv1\.", ".downsample.space."),
    (r"\.downsample\.conv2\.", ".downsample.time."),
    (r"\.upsample\.conv1\.", ".upsample.time."),
    (r"\.upsample\.conv2\.", ".upsample.space."),
    (r"\.(down|up)sample\.conv3\.", r".\1sample.out."),
)

Described = dict[str, Any]
Config = CosmosConfig | CosmosVideoConfig


def _weights(source: Source) -> Weights:
    """Give the weights of the networks by their names in the archives."""
    weights = within(source.weights, _INSIDE) or source.weights
    return {
        name: weight
        for name, weight in weights.items()
        if name.startswith(_NETWORKS) and not _CONSTANTS.search(name)
    }


def _is_of_pictures(source: Source) -> bool:
    weights = _weights(source)
    stem = weights.get("encoder.conv_in.weight")
    has_patches = stem is not None and stem.ndim == 4 and stem.shape[1] > _COLOURS
    return has_patches and {"encoder.mid.block_1.norm1.weight", "quant_conv.weight"} <= weights.keys()


def _is_of_clips(source: Source) -> bool:
    return {"encoder.conv_in.1.conv3d.weight", "quant_conv.conv3d.weight"} <= _weights(source).keys()


def _convert(source: Source, read: Callable[[Source], tuple[Config, Weights]]) -> Converted:
    if source.says("patch_method") not in (None, "haar"):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"{source.path} makes patches by {source.says('patch_method')!r}, expected by 'haar'",
        )
    try:
        config, weights = read(source)
    except (KeyError, IndexError) as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected the weights of a Cosmos tokenizer, found no {error}"
        ) from None
    named = {f"autoencoder.{name}": weight for name, weight in weights.items()}
    return Converted(config, _quantizer(source, config.latent_dim), named)


def _of_pictures(source: Source) -> tuple[CosmosConfig, Weights]:
    weights = renamed(_weights(source), MIDDLE)
    down, up = _side(weights, "encoder.down"), _side(weights, "decoder.up")
    down["resized"] = _present(weights, "encoder.down.{}.downsample.conv.weight", down)
    up["resized"] = _present(weights, "decoder.up.{}.upsample.conv.weight", up)
    values = {"type": "cosmos", **_around(weights, axes=2), "encoder": down, "decoder": up}
    return parse(CosmosConfig, values, source="the checkpoint"), weights


def _of_clips(source: Source) -> tuple[CosmosVideoConfig, Weights]:
    weights = {name: _flat(weight) for name, weight in renamed(_weights(source), _VIDEO_RULES).items()}
    around, factors = _around(weights, axes=3, inner=".space"), _factors(source)
    down, up = _side(weights, "encoder.down", ".space"), _side(weights, "decoder.up", ".space")
    time, space = (max(factor // around["patch"], 1).bit_length() - 1 for factor in factors)
    levels = range(len(down["widths"]))
    last = levels[-1]
    down["resized"] = [level < min(space, last) for level in levels]
    down["retimed"] = [level < min(time, last) for level in levels]
    # On the way up, time is doubled from the second level on; older networks begin with the first.
    first = 0 if source.says("legacy_mode") else 1
    up["retimed"] = [level > 0 and first <= last - level < first + time for level in levels]
    in_space_alone = [level > 0 and last - level < space and time < space for level in levels]
    up["resized"] = [
        place or with_time for place, with_time in zip(in_space_alone, up["retimed"], strict=True)
    ]
    values = {"type": "cosmos_video", **around, "encoder": down, "decoder": up}
    config = parse(CosmosVideoConfig, values, source="the checkpoint")
    if (config.temporal_factor, config.factor) != factors:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"{source.path} cannot have factors of {factors} in time and space with {last + 1} levels and "
            f"patches of {config.patch}",
        )
    # All levels but one have weights for both changes, also where they make one of them, or none.
    sides = {"encoder": config.encoder, "decoder": config.decoder}
    used = {
        name: weight
        for name, weight in weights.items()
        if not (found := _RESIZING.match(name)) or _is_used(sides[found[1]], int(found[2]), found[3])
    }
    return config, used


def _is_used(side: VideoSideConfig, level: int, change: str) -> bool:
    resized, retimed = side.resized[level], side.retimed[level]
    return {"space": resized, "time": retimed, "out": resized or retimed}[change]


def _flat(weight: Tensor) -> Tensor:
    """Give a convolution over space or time as one of pictures; the channels of each frame lie together."""
    if weight.ndim < 5:
        return weight
    return weight.transpose(1, 2).flatten(1, 2)


def _around(weights: Weights, axes: int, inner: str = "") -> Described:
    """Describe what is around the levels."""
    stem, beside = weights[f"encoder.conv_in{inner}.weight"], weights["quant_conv.weight"]
    return {
        "latent_dim": beside.shape[0],
        "feature_dim": beside.shape[1],
        "stem": stem.shape[0],
        # The pixels of a patch are the channels of the first convolution.
        "patch": round((stem.shape[1] / _COLOURS) ** (1 / axes)),
    }


def _side(weights: Weights, levels: str, inner: str = "") -> Described:
    numbers = range(count(weights, rf"{levels}\.(\d+)\."))
    return {
        "widths": [weights[f"{levels}.{level}.block.0.conv1{inner}.weight"].shape[0] for level in numbers],
        "blocks": [count(weights, rf"{levels}\.{level}\.block\.(\d+)\.") for level in numbers],
        "attention": [f"{levels}.{level}.attn.0{inner}.q.weight" in weights for level in numbers],
    }


def _present(weights: Weights, name: str, side: Described) -> list[bool]:
    return [name.format(level) in weights for level in range(len(side["widths"]))]


def _factors(source: Source) -> tuple[int, int]:
    """Find the factors in time and in space."""
    said = source.says("temporal_compression"), source.says("spatial_compression")
    if isinstance(said[0], int) and isinstance(said[1], int):
        return said
    for name in reversed(source.path.absolute().parts[-_NAMES:]):
        if found := _FACTORS.search(name):
            return int(found[1]), int(found[2])
    raise VistokError(
        ErrorCode.INVALID_REQUEST,
        f"{source.path} does not say by how much it shrinks clips: expected a JSON file beside it with "
        "temporal_compression and spatial_compression, or such as 4x8x8 in its name",
    )


def _quantizer(source: Source, latent_dim: int) -> QuantizerConfig:
    """Find the levels: the archives hold them, `model.pt` only if a newer version of Cosmos wrote it."""
    held = source.weights.get(_LEVELS, source.weights.get(_INSIDE + _LEVELS))
    levels = held.tolist() if held is not None else source.says("levels") or _PUBLISHED_LEVELS
    if not isinstance(levels, list) or len(levels) != latent_dim:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"{source.path} has {latent_dim} channels for the levels {levels}: expected one of Cosmos's "
            "discrete tokenizers (DI, DV), with its levels in the archives or in a config",
        )
    return QuantizerConfig(type="FSQ", arguments={"levels": levels})


COSMOS_IMAGE = Family("cosmos-di", _is_of_pictures, partial(_convert, read=_of_pictures), _LICENCE)
COSMOS_VIDEO = Family("cosmos-dv", _is_of_clips, partial(_convert, read=_of_clips), _LICENCE)
