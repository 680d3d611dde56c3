"""The config of a VQGAN, as the names and shapes of its weights tell it."""

from vistok.checkpoints.foreign.renaming import Weights, count
from vistok_protocol.errors import ErrorCode, VistokError

Described = dict[str, object]


def describe(weights: Weights) -> Described:
    """Give what the weights tell of a `VqganConfig`; INVALID_REQUEST when they are not those of one.

    Names are those of our module; what no name or shape tells is left to the family.
    """
    try:
        return _described(weights)
    except KeyError as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected the weights of a VQGAN, found none named {error}"
        ) from None


def _described(weights: Weights) -> Described:
    features = weights["encoder.conv_out.weight"].shape[0]
    beside = weights.get("quant_conv.weight")
    return {
        "type": "vqgan",
        "latent_dim": features if beside is None else beside.shape[0],
        "feature_dim": features,
        "stem": weights["encoder.conv_in.weight"].shape[0],
        "encoder": _side(weights, "encoder", "down"),
        "decoder": _side(weights, "decoder", "up"),
        "quantizer_kernel": None if beside is None else beside.shape[-1],
        "shortcut": _shortcut(weights),
        "modulated": "decoder.norm_out.conv_y.weight" in weights,
        "adaptive": any(".adaptive." in name for name in weights),
    }


def _side(weights: Weights, side: str, way: str) -> Described:
    levels = range(count(weights, rf"{side}\.{way}\.(\d+)\."))
    return {
        "widths": [weights[f"{side}.{way}.{level}.block.0.conv1.weight"].shape[0] for level in levels],
        "blocks": [count(weights, rf"{side}\.{way}\.{level}\.block\.(\d+)\.") for level in levels],
        "attention": [f"{side}.{way}.{level}.attn.0.q.weight" in weights for level in levels],
        "middle": _middle(weights, side),
        "bias": f"{side}.{way}.0.block.0.conv1.bias" in weights,
        "edge_bias": f"{side}.conv_in.bias" in weights,
        "out_kernel": weights[f"{side}.conv_out.weight"].shape[-1],
    }


def _middle(weights: Weights, side: str) -> str:
    blocks = count(weights, rf"{side}\.mid\.(\d+)\.")
    return "".join("a" if f"{side}.mid.{index}.q.weight" in weights else "r" for index in range(blocks))


def _shortcut(weights: Weights) -> str:
    for name, weight in weights.items():
        if name.endswith("nin_shortcut.weight"):
            block = name.removesuffix("nin_shortcut.weight")
            takes_input = weight.shape[1] == weights[f"{block}conv1.weight"].shape[1]
            return "input" if takes_input else "result"
    return "input"
