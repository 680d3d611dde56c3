"""commaVQ (comma.ai): encoder and decoder in two files, each with the same table; pixels from 0 to 255."""

from vistok.checkpoints.foreign.archive import tensors
from vistok.checkpoints.foreign.codebooks import codebook
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import MIDDLE, Rule, Weights, renamed
from vistok.checkpoints.foreign.source import Source

_ENCODER, _DECODER = "encoder_pytorch_model.bin", "decoder_pytorch_model.bin"
_TABLE = "quantize._embedding.weight"
_LIFTED: tuple[Rule, ...] = ((r"^(?:en|de)coder\.((?:post_)?quant_conv|quantize)\.", r"\1."),)


def _recognizes(source: Source) -> bool:
    return {_ENCODER, _DECODER} <= {file.name for file in source.files}


def _convert(source: Source) -> Converted:
    weights: Weights = {}
    for side, file in (("encoder", _ENCODER), ("decoder", _DECODER)):
        weights |= {f"{side}.{name}": weight for name, weight in tensors(source.trees[file]).items()}
    weights = renamed(weights, _LIFTED + MIDDLE)
    # The last layer's result is stretched to 0..255: before that it is like that of the others.
    return vqgan(weights, codebook(weights.pop(_TABLE), "distance"), pixels_in=(0.0, 255.0))


COMMA_VQ = Family("commavq", _recognizes, _convert, "MIT")
