"""One of every family, small: whoever adds a family adds it here, and all shared properties are tested."""

from collections.abc import Callable

import torch

from vistok.quantizers import (
    FSQ,
    GSQ,
    IBQ,
    LFQ,
    NSVQ,
    LatentQuantize,
    MultiCodebookVQ,
    Quantizer,
    SimVQ,
    VectorQuantize,
)

FAMILIES: dict[str, Callable[[], Quantizer]] = {
    "fsq": lambda: FSQ([8, 5, 4]),
    "fsq projected": lambda: FSQ([8, 8, 8, 5, 5, 5], dim=10),
    "fsq symmetric, several codebooks": lambda: FSQ(
        [4, 2, 7], dim=8, num_codebooks=3, preserve_symmetry=True, diversity_weight=0.1
    ),
    "fsq clamped, rotated": lambda: FSQ([5, 5, 5, 5], bound_hard_clamp=True, orthogonal_rotation=True),
    "lfq": lambda: LFQ(dim=9),
    "lfq projected": lambda: LFQ(dim=6, codebook_size=2**16),
    "lfq of 40 bits": lambda: LFQ(dim=40, entropy_loss_weight=0),
    "lfq spherical, several codebooks": lambda: LFQ(
        dim=10, codebook_size=2**4, num_codebooks=3, spherical=True, commitment_loss_weight=0.25
    ),
    "lfq by cosines, rotated": lambda: LFQ(
        dim=12, codebook_size=2**7, cosine_sim_project_in=True, orthogonal_rotation=True
    ),
    "latent": lambda: LatentQuantize([5, 4, 7], dim=3),
    "latent, several codebooks": lambda: LatentQuantize(6, dim=9, codebook_dim=2, num_codebooks=3),
    "latent, fixed values": lambda: LatentQuantize([5, 9], dim=6, optimize_values=False),
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
