"""The quantizers, under the names and keyword arguments of the field's best-known library.

Read `base.py` first, then one family: `finite_scalar.py`, `lookup_free.py` or `vector.py`.
"""

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.finite_scalar import FSQ
from vistok.quantizers.lookup_free import LFQ
from vistok.quantizers.vector import VectorQuantize

__all__ = ["FSQ", "LFQ", "Quantized", "Quantizer", "VectorQuantize"]
