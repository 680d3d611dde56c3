"""`VQModel` of diffusers: LDM's network under other names, and MoVQ's with its "spatial" norms."""

from torch import Tensor

from vistok.checkpoints.foreign.codebooks import codebook
from vistok.checkpoints.foreign.family import Converted, Family, vqgan
from vistok.checkpoints.foreign.renaming import Rule, renamed, turned_over
from vistok.checkpoints.foreign.source import Source

_TABLE = "quantize.embedding.weight"
_RULES: tuple[Rule, ...] = (
    (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d+)\.attentions\.", r".down.\1.attn."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d+)\.resnets\.", r".up.\1.block."),
    (r"\.up_blocks\.(\d+)\.attentions\.", r".up.\1.attn."),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0\.", r".up.\1.upsample."),
    (r"\.mid_block\.resnets\.0\.", ".mid.0."),
    (r"\.mid_block\.attentions\.0\.", ".mid.1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.2."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.(group|spatial)_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
)


def _recognizes(source: Source) -> bool:
    return source.says("_class_name") == "VQModel"


def _convert(source: Source) -> Converted:
    weights = turned_over(renamed(source.weights, _RULES), "decoder.up")
    weights = {name: _as_convolution(name, weight) for name, weight in weights.items()}
    return vqgan(weights, codebook(weights.pop(_TABLE), "distance"))


def _as_convolution(name: str, weight: Tensor) -> Tensor:
    """Attention's linear layers are convolutions of one pixel."""
    is_linear = weight.ndim == 2 and name.endswith(
        (".q.weight", ".k.weight", ".v.weight", ".proj_out.weight")
    )
    return weight[..., None, None] if is_linear else weight


DIFFUSERS_VQ = Family("diffusers-vq", _recognizes, _convert)
