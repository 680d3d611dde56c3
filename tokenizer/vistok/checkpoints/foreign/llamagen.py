"""LlamaGen's tokenizers (Sun et al., arXiv:2406.06525), and Janus's: the same inside a larger model."""

from vistok.checkpoints.foreign.codebooks import codebook
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import Rule, Weights, renamed, turned_over, within, without
from vistok.checkpoints.foreign.source import Source

_INSIDE_JANUS = "gen_vision_model."
_TABLE = "quantize.embedding.weight"
_RULES: tuple[Rule, ...] = (
    (r"^encoder\.conv_blocks\.(\d+)\.res\.", r"encoder.down.\1.block."),
    (r"^encoder\.conv_blocks\.", "encoder.down."),
    (r"^decoder\.conv_blocks\.(\d+)\.res\.", r"decoder.up.\1.block."),
    (r"^decoder\.conv_blocks\.", "decoder.up."),
)


def _weights(source: Source) -> Weights:
    return within(source.weights, _INSIDE_JANUS) or source.weights


def _recognizes(source: Source) -> bool:
    weights = _weights(source)
    return "encoder.conv_blocks.0.res.0.conv1.weight" in weights and _TABLE in weights


def _is_janus(source: Source) -> bool:
    return bool(within(source.weights, _INSIDE_JANUS)) and _recognizes(source)


def _convert(source: Source) -> Converted:
    weights = without(_weights(source), ("quantize.codebook_used", "loss."))
    weights = turned_over(renamed(weights, _RULES), "decoder.up")
    is_cosine = source.says("codebook_l2_norm")
    quantizer = codebook(weights.pop(_TABLE), "distance" if is_cosine is False else "cosine")
    return vqgan(weights, quantizer)


LLAMAGEN = Family("llamagen", _recognizes, _convert, "MIT")
JANUS = Family("janus", _is_janus, _convert, "DeepSeek Model License")
