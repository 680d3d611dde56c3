"""Show-o's MAGVIT-v2 (Xie et al., arXiv:2408.12528): what is beside the quantizer lies in the networks."""

from vistok.checkpoints.foreign.codebooks import signs
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import MIDDLE, Rule, renamed, without
from vistok.checkpoints.foreign.source import Source

_RULES: tuple[Rule, ...] = (
    (r"^encoder\.quant_conv\.", "quant_conv."),
    (r"^decoder\.post_quant_conv\.", "post_quant_conv."),
    *MIDDLE,
)


def _recognizes(source: Source) -> bool:
    return (
        "encoder.quant_conv.weight" in source.weights and "decoder.post_quant_conv.weight" in source.weights
    )


def _convert(source: Source) -> Converted:
    weights = renamed(without(source.weights, ("quantize.",)), _RULES)
    return vqgan(weights, signs(weights["quant_conv.weight"].shape[0], lowest_bit_first=False))


SHOW_O = Family("show-o", _recognizes, _convert, "Apache-2.0")
