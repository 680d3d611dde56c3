"""Which pixels can be tokenized."""

import numpy as np
from torch import Tensor

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import Kind

# Resizing overshoots [-1, 1] a little; [0, 255] overshoots it a lot.
_LARGEST_PIXEL = 2.0
_FORMS: dict[Kind, str] = {"image": "pictures (b 3 h w)", "video": "clips (b 3 t h w)"}
_RANKS: dict[Kind, int] = {"image": 4, "video": 5}


def check_pixels(pixels: Tensor, kind: Kind, factor: int) -> None:
    """Refuse all but floating `(b 3 [t] H W)` in about [-1, 1], both sides multiples of the factor."""
    fits = pixels.ndim == _RANKS[kind] and pixels.shape[1] == 3 and pixels.is_floating_point()
    if not fits or 0 in pixels.shape or pixels.shape[-2] % factor or pixels.shape[-1] % factor:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected floating-point {_FORMS[kind]} with h and w multiples of {factor}, "
            f"got {str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)}; "
            "vistok.grids takes any size",
        )
    # Written so that NaN fails it too.
    if not (pixels.abs() <= _LARGEST_PIXEL).all():
        raise VistokError(
            ErrorCode.INVALID_ARRAY,
            "expected pixels in [-1, 1], got values far outside or not finite; "
            "vistok.media.pixels.to_model converts uint8",
        )


def check_picture(picture: np.ndarray) -> None:
    """Refuse all but uint8 `(h w 3)`: INVALID_SHAPE."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise VistokError(
            ErrorCode.INVALID_SHAPE, f"expected a uint8 array (h w 3), got {picture.dtype} {picture.shape}"
        )
