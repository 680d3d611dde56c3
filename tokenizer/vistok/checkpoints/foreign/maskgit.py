"""MaskGIT's tokenizer in PyTorch, as open-muse and 1d-tokenizer publish it; and MaskBit's and VQGAN+'s.

MaskGIT: Chang et al., arXiv:2202.04200. MaskBit and VQGAN+: Weber et al., arXiv:2409.16211. All speak [0, 1].
"""

from vistok.checkpoints.foreign.codebooks import codebook, signs
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import Rule, renamed, turned_over, without
from vistok.checkpoints.foreign.source import Source

_UNIT = (0.0, 1.0)
_TABLE = "quantize.embedding.weight"
_MASKGIT_RULES: tuple[Rule, ...] = ((r"\.upsample_conv\.", ".upsample.conv."),)
_MASKBIT_RULES: tuple[Rule, ...] = (
    (r"\.mid\.res_blocks\.", ".mid."),
    (r"\.res_blocks\.", ".block."),
    (r"\.down_conv\.", ".downsample.conv."),
    *_MASKGIT_RULES,
)


def _is_maskgit(source: Source) -> bool:
    return (
        "encoder.mid.0.norm1.weight" in source.weights
        and "encoder.down.0.block.0.conv1.weight" in source.weights
    )


def _of_maskgit(source: Source) -> Converted:
    weights = renamed(source.weights, _MASKGIT_RULES)
    quantizer = codebook(weights.pop(_TABLE), "distance")
    return vqgan(
        weights, quantizer, shortcut="result", downsampling="average", pixels_in=_UNIT, pixels_out=_UNIT
    )


def _is_maskbit(source: Source) -> bool:
    return "encoder.down.0.res_blocks.0.conv1.weight" in source.weights


def _of_maskbit(source: Source) -> Converted:
    weights = turned_over(renamed(source.weights, _MASKBIT_RULES), "decoder.up")
    quantizer = (
        codebook(weights[_TABLE], "distance")
        if _TABLE in weights
        else signs(weights["encoder.conv_out.weight"].shape[0], lowest_bit_first=True)
    )
    weights = without(weights, ("quantize.",))
    return vqgan(weights, quantizer, shortcut="result", pixels_in=_UNIT, pixels_out=_UNIT)


MASKGIT = Family("maskgit-vq", _is_maskgit, _of_maskgit, "Apache-2.0")
MASKBIT = Family("maskbit", _is_maskbit, _of_maskbit, "Apache-2.0")
