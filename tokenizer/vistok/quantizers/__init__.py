"""The quantizers, under the names and keyword arguments of the field's best-known library.

Read `base.py` first, then one family: `scalar/finite_scalar.py` or `vector/vector_quantize.py`.
"""

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.scalar.finite_scalar import FSQ
from vistok.quantizers.scalar.lookup_free import LFQ
from vistok.quantizers.vector.vector_quantize import VectorQuantize

__all__ = ["FSQ", "LFQ", "Quantized", "Quantizer", "VectorQuantize"]
