"""Taming transformers (Esser et al., arXiv:2012.09841), and what kept its format: Chameleon, LDM's VQ models.

A Lightning checkpoint beside a YAML file; in latent diffusion models the tokenizer is `first_stage_model`.
"""

from vistok.checkpoints.foreign.codebooks import codebook
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import MIDDLE, Weights, renamed, within, without
from vistok.checkpoints.foreign.source import Source
from vistok.config import QuantizerConfig

_FIRST_STAGE = "first_stage_model."
_LEFT_BY_TRAINING = ("loss.", "model_ema.", "colorize")
_TABLE, _GUMBEL_TABLE = "quantize.embedding.weight", "quantize.embed.weight"
_SIGNS = {"encoder.down.0.block.0.conv1.bias", "encoder.mid.block_1.norm1.weight", "quant_conv.weight"}


def _weights(source: Source) -> Weights:
    return without(within(source.weights, _FIRST_STAGE) or source.weights, _LEFT_BY_TRAINING)


def _recognizes(source: Source) -> bool:
    names = _weights(source).keys()
    return names >= _SIGNS and not names.isdisjoint({_TABLE, _GUMBEL_TABLE})


def _convert(source: Source) -> Converted:
    weights = renamed(_weights(source), MIDDLE)
    if _GUMBEL_TABLE in weights:
        return vqgan(without(weights, ("quantize.",)), _gumbel(within(weights, "quantize.")))
    quantizer = codebook(weights.pop(_TABLE), "distance")
    return vqgan(weights, quantizer)


def _gumbel(weights: Weights) -> tuple[QuantizerConfig, Weights]:
    size, dim = weights["embed.weight"].shape
    arguments = {"dim": dim, "codebook_size": size}
    return QuantizerConfig(type="GumbelQuantizer", arguments=arguments), {
        "quantizer.logits.weight": weights["proj.weight"].flatten(1),
        "quantizer.logits.bias": weights["proj.bias"],
        "quantizer.embedding.weight": weights["embed.weight"],
    }


TAMING = Family("taming", _recognizes, _convert)
