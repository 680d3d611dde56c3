"""One of every family, small: whoever adds a family adds it here, and all shared properties are tested."""

from collections.abc import Callable

import torch

from vistok.quantizers import (
    BSQ,
    FSP,
    FSQ,
    GSQ,
    IBQ,
    IFSQ,
    LFQ,
    NSVQ,
    BinaryLatent,
    DimensionWise,
    GroupedResidualFSQ,
    GroupedResidualLFQ,
    GroupedResidualVQ,
    GumbelQuantizer,
    LatentQuantize,
    LearnableLattice,
    LeechQuantizer,
    MultiCodebookVQ,
    Quantizer,
    ResidualFSQ,
    ResidualLFQ,
    ResidualSimVQ,
    ResidualVQ,
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
    "gumbel": lambda: GumbelQuantizer(6, 100),
    "nsvq": lambda: NSVQ(6, 100),
    "bsq": lambda: BSQ(9, commitment_loss_weight=0.25),
    "bsq of 36 bits": lambda: BSQ(12, 36),
    "ifsq": lambda: IFSQ([17, 5, 3]),
    "ifsq projected": lambda: IFSQ([9, 9], dim=6),
    "fsp": lambda: FSP([8, 5, 4], act_name="normal", quantize_rate=1.0),
    "fsp projected": lambda: FSP([4, 4], dim=5, need_inv_act=True, quantize_rate=1.0),
    "binary latent": lambda: BinaryLatent(5, 32, uncertainty_weight=0.1),
    "binary latent of 128 bits": lambda: BinaryLatent(4, 128),
    "dimension-wise": lambda: DimensionWise(4, 16, mean=0.5, deviation=[0.5, 1.0, 2.0, 4.0]),
    "learnable lattice": lambda: LearnableLattice(6, 15),
    "leech": lambda: LeechQuantizer(),
    "leech projected": lambda: LeechQuantizer(7),
    "residual vq": lambda: ResidualVQ(dim=6, num_quantizers=3, codebook_size=50),
    "residual vq projected": lambda: ResidualVQ(dim=9, codebook_size=(4, 16, 60), codebook_dim=4),
    "residual vq shared, cosine": lambda: ResidualVQ(
        dim=6, num_quantizers=2, codebook_size=128, shared_codebook=True, use_cosine_sim=True
    ),
    "residual vq implicit": lambda: ResidualVQ(
        dim=6, num_quantizers=3, codebook_size=20, implicit_neural_codebook=True, quant_grad_frac=0.1
    ),
    "residual vq by beam search": lambda: ResidualVQ(dim=6, num_quantizers=3, codebook_size=20, beam_size=3),
    "residual fsq": lambda: ResidualFSQ(levels=[5, 4, 3], num_quantizers=3, dim=7),
    "residual lfq": lambda: ResidualLFQ(dim=5, num_quantizers=3, codebook_size=2**7),
    "residual sim vq": lambda: ResidualSimVQ(dim=6, num_quantizers=3, codebook_size=50),
    "grouped residual vq": lambda: GroupedResidualVQ(dim=8, groups=2, num_quantizers=2, codebook_size=32),
    "grouped residual fsq": lambda: GroupedResidualFSQ(dim=8, groups=2, levels=[5, 3], num_quantizers=2),
    "grouped residual lfq": lambda: GroupedResidualLFQ(dim=8, groups=2, num_quantizers=2, codebook_size=16),
}


def made(make: Callable[[], Quantizer]) -> Quantizer:
    torch.manual_seed(1)
    return make()
