"""Quantizers by the names of their classes, as a config gives them."""

from collections.abc import Mapping
from inspect import isabstract
from typing import Any

from vistok import quantizers
from vistok.quantizers.base import Quantizer
from vistok.quantizers.residual.multi_scale import MultiScale
from vistok_protocol.errors import ErrorCode, VistokError


def built(name: str, arguments: Mapping[str, Any]) -> Quantizer:
    """Make a quantizer of a class in `vistok.quantizers` that gives ids for each position of a grid."""
    families = {public: getattr(quantizers, public) for public in quantizers.__all__}
    fitting = [public for public, family in families.items() if _fits_a_grid(family)]
    if name not in fitting:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected a quantizer that gives ids for each position of a grid ({', '.join(fitting)}), "
            f"got {name!r}",
        )
    try:
        return families[name](**arguments)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{name}: {error}") from None


def _fits_a_grid(family: type) -> bool:
    return issubclass(family, Quantizer) and not isabstract(family) and not issubclass(family, MultiScale)
