"""All families, and which one a checkpoint is of."""

from pathlib import Path

from vistok.autoencoders.catalogue import kind_of
from vistok.checkpoints.foreign.comma_vq import COMMA_VQ
from vistok.checkpoints.foreign.cosmos import COSMOS_IMAGE, COSMOS_VIDEO
from vistok.checkpoints.foreign.diffusers_vq import DIFFUSERS_VQ
from vistok.checkpoints.foreign.family import Family
from vistok.checkpoints.foreign.llamagen import JANUS, LLAMAGEN
from vistok.checkpoints.foreign.maskgit import MASKBIT, MASKGIT
from vistok.checkpoints.foreign.renaming import Weights
from vistok.checkpoints.foreign.seed_voken import IBQ, OPEN_MAGVIT2
from vistok.checkpoints.foreign.show_o import SHOW_O
from vistok.checkpoints.foreign.source import Source
from vistok.checkpoints.foreign.taming import TAMING
from vistok.config import Origin, TokenizerConfig
from vistok_protocol.errors import ErrorCode, VistokError

# In this order: those that can be told by fewer signs come later.
FAMILIES = (
    COMMA_VQ,
    COSMOS_IMAGE,
    COSMOS_VIDEO,
    DIFFUSERS_VQ,
    JANUS,
    LLAMAGEN,
    SHOW_O,
    OPEN_MAGVIT2,
    MASKBIT,
    MASKGIT,
    IBQ,
    TAMING,
)


def load(path: Path, name: str) -> tuple[TokenizerConfig, Weights]:
    """Read a published checkpoint, a file or a folder; INVALID_REQUEST when it is of no known family."""
    source = Source.open(path)
    family = _family(source)
    converted = family.convert(source)
    config = TokenizerConfig(
        name=name,
        kind=kind_of(converted.autoencoder),
        autoencoder=converted.autoencoder,
        quantizer=converted.quantizer,
        licence=family.licence,
        origin=Origin(family=family.name, files=tuple(file.name for file in source.files)),
    )
    return config, converted.weights


def _family(source: Source) -> Family:
    for family in FAMILIES:
        if family.recognizes(source):
            return family
    some = ", ".join(sorted(source.weights)[:5])
    raise VistokError(
        ErrorCode.INVALID_REQUEST,
        f"{source.path} is of no known family ({', '.join(family.name for family in FAMILIES)}); "
        f"its weights are called {some or 'nothing'} …",
    )
