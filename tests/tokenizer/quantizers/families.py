"""One of every family, small: whoever adds a family adds it here, and all shared properties are tested."""

from collections.abc import Callable

import torch

from vistok.quantizers import (
    FSQ,
    GSQ,
    IBQ,
    LFQ,
    NSVQ,
    MultiCodebookVQ,
    Quantizer,
    SimVQ,
    VectorQuantize,
)

FAMILIES: dict[str, Callable[[], Quantizer]] = {
    "fsq": lambda: FSQ([8, 5, 4]),
    "fsq projected": lambda: FSQ([8, 8, 8, 5, 5, 5], dim=10),
    "lfq": lambda: LFQ(dim=9),
    "lfq projected": lambda: LFQ(dim=6, codebook_size=2**16),
    "lfq of 40 bits": lambda: LFQ(dim=40, entropy_loss_weight=0),
    "vq": lambda: VectorQuantize(7, 200),
    "vq cosine": lambda: VectorQuantize(8, 256, use_cosine_sim=True),
    "vq projected": lambda: VectorQuantize(12, 64, codebook_dim=4),
    "sim vq": lambda: SimVQ(6, 100),
    "sim vq straight through": lambda: SimVQ(6, 64, rotation_trick=False, frozen_codebook_dim=4),
    "gsq": lambda: GSQ(8, 50, groups=4),
    "gsq of one group": lambda: GSQ(8, 256),
    "ibq": lambda: IBQ(6, 100, entropy_weight=0.1),
    "multi-codebook vq": lambda: MultiCodebookVQ(12, 40, num_codebooks=3, entropy_weight=0.1),
    "multi-codebook vq, disentangled": lambda: MultiCodebookVQ(
        8, 64, num_codebooks=2, disentanglement_weight=0.1
    ),
    "nsvq": lambda: NSVQ(6, 100),
}


def made(make: Callable[[], Quantizer]) -> Quantizer:
    torch.manual_seed(1)
    return make()
