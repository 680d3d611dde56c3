"""The quantizers, under the names and keyword arguments of the field's best-known library.

Read `base.py` first, then one family: `scalar/finite_scalar.py` or `vector/vector_quantize.py`.
"""

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.scalar.finite_scalar import FSQ
from vistok.quantizers.scalar.latent import LatentQuantize
from vistok.quantizers.scalar.lookup_free import LFQ
from vistok.quantizers.vector.group_spherical import GSQ
from vistok.quantizers.vector.index_backpropagation import IBQ
from vistok.quantizers.vector.multi_codebook import MultiCodebookVQ
from vistok.quantizers.vector.noise_substitution import NSVQ
from vistok.quantizers.vector.random_projection import RandomProjectionQuantizer
from vistok.quantizers.vector.sim import SimVQ
from vistok.quantizers.vector.vector_quantize import VectorQuantize

__all__ = [
    "FSQ",
    "GSQ",
    "IBQ",
    "LFQ",
    "NSVQ",
    "LatentQuantize",
    "MultiCodebookVQ",
    "Quantized",
    "Quantizer",
    "RandomProjectionQuantizer",
    "SimVQ",
    "VectorQuantize",
]
