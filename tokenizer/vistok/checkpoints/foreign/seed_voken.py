"""SEED-Voken: Open-MAGVIT2 (Luo et al., arXiv:2409.04410), IBQ (Shi et al., arXiv:2412.02692); and Emu3.5.

Lightning checkpoints. Their moving averages are what is published as the model: of a weight `a.b.c` it is
`model_ema.abc`.
"""

from vistok.checkpoints.foreign.codebooks import codebook, signs
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import MIDDLE, Rule, Weights, renamed, without
from vistok.checkpoints.foreign.source import Source

_AVERAGES = "model_ema."
_LEFT_BY_TRAINING = ("loss.", _AVERAGES, "ema_vocab_hit_SV")
_TABLE = "quantize.embedding.weight"
_MAGVIT_RULES: tuple[Rule, ...] = (
    (r"\.mid_block\.", ".mid."),
    (r"\.downsample\.(weight|bias)$", r".downsample.conv.\1"),
    (r"\.upsample\.conv1\.", ".upsample.conv."),
)


def _averaged(weights: Weights) -> Weights:
    """Give the moving averages in place of the weights, as far as they are there."""
    return {
        name: weights.get(_AVERAGES + name.replace(".", ""), weight)
        for name, weight in without(weights, _LEFT_BY_TRAINING).items()
    }


def _is_magvit(source: Source) -> bool:
    return "decoder.adaptive.0.gamma.weight" in source.weights and _is_of_pictures(source)


def _is_of_pictures(source: Source) -> bool:
    return source.weights["encoder.conv_in.weight"].ndim == 4


def _of_magvit(source: Source) -> Converted:
    weights = renamed(without(_averaged(source.weights), ("quantize.",)), _MAGVIT_RULES)
    quantizer = signs(weights["encoder.conv_out.weight"].shape[0], lowest_bit_first=True)
    return vqgan(weights, quantizer, downsampling="padded_around", upsampling="depth_to_space")


def _is_ibq(source: Source) -> bool:
    named = source.mentions("IBQ") or source.mentions("Emu3_5") or source.mentions("Emu3.5")
    return named and "encoder.mid.block_1.norm1.weight" in source.weights


def _of_ibq(source: Source) -> Converted:
    weights = renamed(_averaged(source.weights), MIDDLE)
    quantizer = codebook(weights.pop(_TABLE), "product")
    return vqgan(weights, quantizer)


OPEN_MAGVIT2 = Family("open-magvit2", _is_magvit, _of_magvit, "Apache-2.0")
IBQ = Family("ibq", _is_ibq, _of_ibq, "Apache-2.0")
