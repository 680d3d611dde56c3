"""The quantizers, under the names and keyword arguments of the field's best-known library.

Read `base.py` first, then one family: `scalar/finite_scalar.py` or `vector/vector_quantize.py`.
"""

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.lattice.learnable import LearnableLattice
from vistok.quantizers.lattice.leech import LeechQuantizer
from vistok.quantizers.residual.finite_scalar import ResidualFSQ
from vistok.quantizers.residual.grouped import GroupedResidualFSQ, GroupedResidualLFQ, GroupedResidualVQ
from vistok.quantizers.residual.lookup_free import ResidualLFQ
from vistok.quantizers.residual.multi_scale_binary import MultiScaleBSQ
from vistok.quantizers.residual.multi_scale_vector import MultiScaleVQ
from vistok.quantizers.residual.simple_vector import ResidualSimVQ
from vistok.quantizers.residual.vector import ResidualVQ
from vistok.quantizers.scalar.binary_latent import BinaryLatent
from vistok.quantizers.scalar.binary_spherical import BSQ
from vistok.quantizers.scalar.dimension_wise import DimensionWise
from vistok.quantizers.scalar.finite_scalar import FSQ
from vistok.quantizers.scalar.latent import LatentQuantize
from vistok.quantizers.scalar.lookup_free import LFQ
from vistok.quantizers.scalar.perturbation import FSP
from vistok.quantizers.scalar.uniform_finite_scalar import IFSQ
from vistok.quantizers.vector.group_spherical import GSQ
from vistok.quantizers.vector.gumbel import GumbelQuantizer
from vistok.quantizers.vector.index_backpropagation import IBQ
from vistok.quantizers.vector.multi_codebook import MultiCodebookVQ
from vistok.quantizers.vector.noise_substitution import NSVQ
from vistok.quantizers.vector.random_projection import RandomProjectionQuantizer
from vistok.quantizers.vector.sim import SimVQ
from vistok.quantizers.vector.vector_quantize import VectorQuantize

__all__ = [
    "BSQ",
    "FSP",
    "FSQ",
    "GSQ",
    "IBQ",
    "IFSQ",
    "LFQ",
    "NSVQ",
    "BinaryLatent",
    "DimensionWise",
    "GroupedResidualFSQ",
    "GroupedResidualLFQ",
    "GroupedResidualVQ",
    "GumbelQuantizer",
    "LatentQuantize",
    "LearnableLattice",
    "LeechQuantizer",
    "MultiCodebookVQ",
    "MultiScaleBSQ",
    "MultiScaleVQ",
    "Quantized",
    "Quantizer",
    "RandomProjectionQuantizer",
    "ResidualFSQ",
    "ResidualLFQ",
    "ResidualSimVQ",
    "ResidualVQ",
    "SimVQ",
    "VectorQuantize",
]
