"""What an adapter is: one family of published checkpoints, told apart from others and read into ours."""

from collections.abc import Callable
from dataclasses import dataclass

from vistok.autoencoders.catalogue import AutoencoderConfig
from vistok.autoencoders.vqgan.config import VqganConfig
from vistok.checkpoints.foreign.renaming import Weights
from vistok.checkpoints.foreign.shapes import describe
from vistok.checkpoints.foreign.source import Source
from vistok.config import QuantizerConfig, parse


@dataclass(frozen=True)
class Converted:
    """A tokenizer without its name."""

    autoencoder: AutoencoderConfig
    quantizer: QuantizerConfig
    weights: Weights


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one family are read.

    Attributes:
        name: as `docs/models.md` lists it.
        licence: of the weights that its authors published; none can be told where several projects publish in
            this format.
        recognizes: tells by names of weights and by configs whether a source is of this family.
        convert: gives what is in it; names that nobody expects are kept, for whoever loads them to refuse.
    """

    name: str
    recognizes: Callable[[Source], bool]
    convert: Callable[[Source], Converted]
    licence: str = "unspecified"


def vqgan(weights: Weights, quantizer: tuple[QuantizerConfig, Weights], **choices: object) -> Converted:
    """Give a VQGAN: what its weights tell of it, and what the family has chosen."""
    config, codes = quantizer
    described = parse(VqganConfig, {**describe(weights), **choices}, source="the checkpoint")
    named = {f"autoencoder.{name}": weight for name, weight in weights.items()}
    return Converted(described, config, named | codes)
