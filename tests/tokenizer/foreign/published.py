"""Small tokenizers of our own, with random weights, written as each family publishes its own."""

import json
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from vistok import VisualTokenizer
from vistok.config import TokenizerConfig

Weights = dict[str, Tensor]
TABLE = "quantize.embedding.weight"
DIM, BITS, CODES = 4, 10, 64


class CallBack:
    """What training leaves in a checkpoint, and no reader has."""

    def __init__(self) -> None:
        self.best = Path("nowhere")


@dataclass(frozen=True)
class Published:
    """How a family publishes: its networks, its quantizer, and what `write` makes of them in a folder."""

    family: str
    quantizer: str
    write: Callable[[Weights, Tensor | None, Path], None]
    networks: dict[str, Any]

    def tokenizer(self) -> VisualTokenizer:
        """Make one, the same each time."""
        arguments = {
            "LFQ": {"dim": BITS, "entropy_loss_weight": 0.0, "lowest_bit_first": self.family != "show-o"},
            "VectorQuantize": {"dim": DIM, "codebook_size": CODES},
            "cosine": {"dim": DIM, "codebook_size": CODES, "use_cosine_sim": True},
            "IBQ": {"dim": DIM, "codebook_size": CODES},
        }[self.quantizer]
        channels = BITS if self.quantizer == "LFQ" else DIM
        features = channels if self.networks.get("quantizer_kernel", 1) is None else channels + 2
        sizes = {
            "type": "vqgan",
            "latent_dim": channels,
            "feature_dim": features,
            "stem": 32,
            **self.networks,
        }
        kind = "VectorQuantize" if self.quantizer == "cosine" else self.quantizer
        values = {"name": "ours", "autoencoder": sizes, "quantizer": {"type": kind, "arguments": arguments}}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tokenizer = VisualTokenizer(TokenizerConfig.model_validate(values))
            for parameter in tokenizer.parameters():
                parameter.data += 0.05 * torch.randn_like(parameter)
        # Fresh features lie close together: spread them, so that many ids occur.
        last = (
            tokenizer.autoencoder.quant_conv
            if features != channels
            else tokenizer.autoencoder.encoder.conv_out
        )
        last.weight.data *= 10
        return tokenizer

    def publish(self, tokenizer: VisualTokenizer, folder: Path) -> None:
        """Write its weights under the family's names."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name.removeprefix("autoencoder."): weight.clone()
            for name, weight in tokenizer.state_dict().items()
            if name.startswith("autoencoder.")
        }
        self.write(weights, _table(tokenizer), folder)


def _table(tokenizer: VisualTokenizer) -> Tensor | None:
    state = tokenizer.state_dict()
    if "quantizer._codebook.embed" in state:
        # Where only directions count, published tables have vectors of any length.
        is_cosine = tokenizer.config.quantizer.arguments.get("use_cosine_sim")
        return state["quantizer._codebook.embed"][0] * (3.0 if is_cosine else 1.0)
    return state.get("quantizer.embedding.weight")


def _renamed(weights: Weights, *rules: tuple[str, str]) -> Weights:
    for pattern, replacement in rules:
        weights = {re.sub(pattern, replacement, name): weight for name, weight in weights.items()}
    return weights


def _turned_over(weights: Weights, levels: int) -> Weights:
    def turn(found: re.Match[str]) -> str:
        return f"decoder.up.{levels - 1 - int(found[1])}."

    return {re.sub(r"decoder\.up\.(\d+)\.", turn, name): weight for name, weight in weights.items()}


_FROM_MIDDLE = (
    (r"\.mid\.0\.", ".mid.block_1."),
    (r"\.mid\.1\.", ".mid.attn_1."),
    (r"\.mid\.2\.", ".mid.block_2."),
)
_LOSS = {"loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4)}


def _taming(weights: Weights, table: Tensor | None, folder: Path, prefix: str = "") -> None:
    assert table is not None
    named = {**_renamed(weights, *_FROM_MIDDLE), TABLE: table}
    state = {prefix + name: weight for name, weight in named.items()} | _LOSS
    torch.save({"epoch": 3, "callbacks": {CallBack: CallBack()}, "state_dict": state}, folder / "last.ckpt")
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": {"target": "taming.models.vqgan.VQModel"}}))


def _latent_diffusion(weights: Weights, table: Tensor | None, folder: Path) -> None:
    _taming(weights, table, folder, prefix="first_stage_model.")
    saved = torch.load(folder / "last.ckpt", weights_only=False)
    saved["state_dict"] |= {"model_ema.encoderconv_inweight": torch.zeros(3), "betas": torch.zeros(10)}
    torch.save(saved, folder / "last.ckpt")


def _seed_voken(weights: Weights, folder: Path, config: dict[str, Any]) -> None:
    averages = {"model_ema." + name.replace(".", ""): weight for name, weight in weights.items()}
    raw = {name: weight + 1 for name, weight in weights.items()}
    torch.save({"state_dict": raw | averages | _LOSS}, folder / "model.ckpt")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def _ibq(weights: Weights, table: Tensor | None, folder: Path) -> None:
    assert table is not None
    named = {**_renamed(weights, *_FROM_MIDDLE), TABLE: table}
    _seed_voken(named, folder, {"model": {"class_path": "src.IBQ.models.ibqgan.IBQ"}})


def _open_magvit2(weights: Weights, _: Tensor | None, folder: Path) -> None:
    rules = (
        (r"\.mid\.", ".mid_block."),
        (r"\.downsample\.conv\.", ".downsample."),
        (r"e\.conv\.", "e.conv1."),
    )
    _seed_voken(_renamed(weights, *rules), folder, {"model": {"class_path": "src.Open_MAGVIT2.VQModel"}})


def _llamagen(weights: Weights, table: Tensor | None, folder: Path, file: str = "vq_ds16_c2i.pt") -> None:
    assert table is not None
    rules = (
        (r"encoder\.down\.(\d+)\.block\.", r"encoder.conv_blocks.\1.res."),
        (r"encoder\.down\.", "encoder.conv_blocks."),
        (r"decoder\.up\.(\d+)\.block\.", r"decoder.conv_blocks.\1.res."),
        (r"decoder\.up\.", "decoder.conv_blocks."),
    )
    named = {**_renamed(_turned_over(weights, 2), *rules), TABLE: table}
    named["quantize.codebook_used"] = torch.zeros(65536)
    if file.endswith(".safetensors"):
        inside = {f"gen_vision_model.{name}": weight.contiguous() for name, weight in named.items()}
        save_file(inside | {"language_model.embed": torch.zeros(3)}, folder / file)
        (folder / "config.json").write_text(json.dumps({"model_type": "multi_modality"}))
    else:
        torch.save({"model": named, "args": Namespace(lr=1), "steps": 5}, folder / file)


def _janus(weights: Weights, table: Tensor | None, folder: Path) -> None:
    _llamagen(weights, table, folder, "model.safetensors")


def _maskgit(weights: Weights, table: Tensor | None, folder: Path) -> None:
    assert table is not None
    named = {**_renamed(weights, (r"\.upsample\.conv\.", ".upsample_conv.")), TABLE: table}
    # The format before zip files, which some of these have.
    torch.save(named, folder / "maskgit-vqgan.bin", _use_new_zipfile_serialization=False)


def _maskbit(weights: Weights, table: Tensor | None, folder: Path) -> None:
    rules = (
        (r"\.mid\.", ".mid.res_blocks."),
        (r"\.block\.", ".res_blocks."),
        (r"\.downsample\.conv\.", ".down_conv."),
        (r"\.upsample\.conv\.", ".upsample_conv."),
    )
    codes = {"quantize.bits_to_indices": torch.zeros(BITS)} if table is None else {TABLE: table}
    torch.save(_renamed(_turned_over(weights, 2), *rules) | codes, folder / "maskbit.bin")


def _show_o(weights: Weights, _: Tensor | None, folder: Path) -> None:
    rules = ((r"^quant_conv\.", "encoder.quant_conv."), (r"^post_quant", "decoder.post_quant"), *_FROM_MIDDLE)
    constants = {"quantize.embedding": torch.zeros(8, BITS), "quantize.power_vals": torch.zeros(BITS)}
    torch.save(_renamed(weights, *rules) | constants, folder / "pytorch_model.bin")


def _comma_vq(weights: Weights, table: Tensor | None, folder: Path) -> None:
    assert table is not None
    named = _renamed(
        weights, *_FROM_MIDDLE, (r"^quant_conv", "encoder.quant_conv"), (r"^post_", "decoder.post_")
    )
    for side in ("encoder", "decoder"):
        part = {name.removeprefix(f"{side}."): w for name, w in named.items() if name.startswith(f"{side}.")}
        torch.save(part | {"quantize._embedding.weight": table}, folder / f"{side}_pytorch_model.bin")


def _diffusers(weights: Weights, table: Tensor | None, folder: Path) -> None:
    assert table is not None
    rules = (
        (r"\.(down|up)\.(\d+)\.block\.", r".\1_blocks.\2.resnets."),
        (r"\.(down|up)\.(\d+)\.attn\.", r".\1_blocks.\2.attentions."),
        (r"\.(down|up)\.(\d+)\.(down|up)sample\.", r".\1_blocks.\2.\3samplers.0."),
        (r"\.mid\.0\.", ".mid_block.resnets.0."),
        (r"\.mid\.1\.", ".mid_block.attentions.0."),
        (r"\.mid\.2\.", ".mid_block.resnets.1."),
        (r"\.norm_out\.", ".conv_norm_out."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
        (r"encoder(.*)\.norm\.", r"encoder\1.group_norm."),
        (r"\.norm\.(conv_|norm_)", r".spatial_norm.\1"),
        (r"\.norm\.", ".group_norm."),
        (r"\.([qkv])\.", r".to_\1."),
        (r"\.proj_out\.", ".to_out.0."),
    )
    named = {**_renamed(_turned_over(weights, 2), *rules), TABLE: table}
    linear = re.compile(r"\.to_(q|k|v|out\.0)\.weight$")
    saved = {name: (w.flatten(1) if linear.search(name) else w).contiguous() for name, w in named.items()}
    save_file(saved, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({"_class_name": "VQModel", "norm_type": "group"}))


def _gumbel(weights: Weights, table: Tensor | None, folder: Path) -> None:
    assert table is not None
    logits = {
        "quantize.proj.weight": 2 * table[..., None, None],
        "quantize.proj.bias": -table.square().sum(1),
    }
    state = {**_renamed(weights, *_FROM_MIDDLE), **logits, "quantize.embed.weight": table}
    torch.save({"state_dict": state | _LOSS}, folder / "last.ckpt")


def _side(middle: str = "rar", blocks: tuple[int, int] = (1, 1), attends: bool = True, **others: Any) -> Any:
    return {"widths": [32, 64], "blocks": blocks, "attention": [False, attends], "middle": middle, **others}


_VQGAN = {"encoder": _side(), "decoder": _side(blocks=(2, 2))}
_BARE = {"bias": False, "edge_bias": False, "out_kernel": 1}
_MASKGIT = {
    "encoder": _side("rr", attends=False, **_BARE),
    "decoder": _side("rr", attends=False, bias=False),
    "quantizer_kernel": None,
    "shortcut": "result",
    "pixels_in": (0.0, 1.0),
    "pixels_out": (0.0, 1.0),
}
_MAGVIT = {
    "encoder": _side("rr", attends=False, **_BARE),
    "decoder": _side("rr", attends=False, bias=False),
    "quantizer_kernel": None,
    "downsampling": "padded_around",
    "upsampling": "depth_to_space",
    "adaptive": True,
}

PUBLISHED = {
    "taming": Published("taming", "VectorQuantize", _taming, _VQGAN),
    "latent diffusion": Published("taming", "VectorQuantize", _latent_diffusion, _VQGAN),
    "chameleon": Published(
        "taming",
        "VectorQuantize",
        _taming,
        {"encoder": _side(attends=False), "decoder": _side(attends=False)},
    ),
    # Logits that are largest for the nearest code: so it has the ids of one that looks for that.
    "gumbel": Published("taming", "VectorQuantize", _gumbel, _VQGAN),
    "ibq": Published("ibq", "IBQ", _ibq, _VQGAN),
    "open-magvit2": Published("open-magvit2", "LFQ", _open_magvit2, _MAGVIT),
    "llamagen": Published("llamagen", "cosine", _llamagen, _VQGAN),
    "janus": Published("janus", "cosine", _janus, _VQGAN),
    "maskgit": Published("maskgit-vq", "VectorQuantize", _maskgit, _MASKGIT | {"downsampling": "average"}),
    "maskbit": Published("maskbit", "LFQ", _maskbit, _MASKGIT),
    "vqgan+": Published("maskbit", "VectorQuantize", _maskbit, _MASKGIT),
    "show-o": Published("show-o", "LFQ", _show_o, _VQGAN),
    "commavq": Published("commavq", "VectorQuantize", _comma_vq, _VQGAN | {"pixels_in": (0.0, 255.0)}),
    "diffusers": Published("diffusers-vq", "VectorQuantize", _diffusers, _VQGAN),
    "movq": Published("diffusers-vq", "VectorQuantize", _diffusers, _VQGAN | {"modulated": True}),
}
