"""Building requests: one plain function for each call, for both clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Literal
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vistok_client import _answers, _defaults
from vistok_client._call import Call
from vistok_client._inputs import (
    Body,
    Grid,
    Picture,
    WholeGrid,
    array_body,
    grid_body,
    picture_body,
    read_grid,
)
from vistok_client.errors import InvalidInput, RequestRefused
from vistok_client.reconstruction import Reconstruction
from vistok_protocol import media_types
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import TokenGrid

Fit = Literal["pad", "crop", "resize"]
Output = Literal["pil", "numpy"]


@dataclass(frozen=True)
class Preparation:
    """What happens to a picture before it is encoded: see `Client.encode`. Raises InvalidInput."""

    max_side: int | None = None
    fit: Fit | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        match self.size:
            case None:
                return
            case (Integral(), Integral()) if min(self.size) > 0:
                return
        raise InvalidInput(f"expected size as two positive integers (height, width), got {self.size!r}")

    def params(self) -> dict[str, str]:
        """Return the query parameters, without those that were not given."""
        size = None if self.size is None else f"{self.size[0]:d}x{self.size[1]:d}"
        given = {"max_side": self.max_side, "fit": self.fit, "size": size}
        return {name: str(value) for name, value in given.items() if value is not None}


def service_address(url: str) -> httpx.URL:
    """Return where the service is; InvalidInput for anything but an http or https URL with a host."""
    try:
        address = httpx.URL(url)
        address.host.encode("idna")  # as the look-up of the name does, which fails in words of its own
    except (httpx.InvalidURL, TypeError, UnicodeError) as error:
        raise InvalidInput(f"expected the URL of a service, got {url!r}: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise InvalidInput(f"expected the URL of a service, as {_defaults.URL}, got {url!r}")
    return address


def encode(name: str, picture: Picture, preparation: Preparation) -> Call[TokenGrid]:
    """Encode one picture."""
    return Call(
        "POST",
        path_of(name, "encode"),
        _answers.read_grid,
        params=preparation.params(),
        accept=media_types.TOKENS,
        body=picture_body(picture),
    )


def encode_several(
    name: str, bodies: Sequence[Body], preparation: Preparation
) -> Call[list[TokenGrid | RequestRefused]]:
    """Encode several pictures (at least one) in one request."""
    return Call(
        "POST",
        path_of(name, "encode"),
        partial(_answers.read_items, count=len(bodies)),
        params={**preparation.params(), "ids": "false"},
        parts=tuple(bodies),
    )


def decode(
    name: str, grid: Grid, output: Output, any_fingerprint: bool
) -> Call[Image.Image | NDArray[np.uint8]]:
    """Decode a grid to a picture or an array."""
    if output not in ("pil", "numpy"):
        raise InvalidInput(f"expected output 'pil' or 'numpy', got {output!r}")
    kind = read_grid(grid).kind if isinstance(grid, WholeGrid) else None
    if kind == "video" and output == "pil":
        raise InvalidInput(
            "expected the grid of a picture, got a clip's: output='numpy' gives its frames, "
            "and decode_video writes it to a file"
        )
    return Call(
        "POST",
        path_of(name, "decode"),
        _answers.read_image if output == "pil" else _answers.read_array,
        params={"any_fingerprint": "true"} if any_fingerprint else {},
        accept=media_types.PNG if output == "pil" else media_types.NPY,
        body=grid_body(grid),
        is_lasting=kind == "video",
    )


def reconstruct(name: str, picture: Picture, preparation: Preparation) -> Call[Reconstruction]:
    """Encode and decode one picture."""
    return Call(
        "POST",
        path_of(name, "reconstruct"),
        _answers.read_reconstruction,
        params=preparation.params(),
        accept=media_types.PNG,
        body=picture_body(picture),
    )


def quantize(name: str, features: ArrayLike) -> Call[NDArray[np.int64]]:
    """Turn a feature map into ids."""
    return Call(
        "POST",
        path_of(name, "quantize"),
        _answers.read_array,
        accept=media_types.NPY,
        body=array_body(features),
    )


def lookup(name: str, ids: ArrayLike) -> Call[NDArray[np.float32]]:
    """Turn ids into codes."""
    return Call(
        "POST", path_of(name, "lookup"), _answers.read_array, accept=media_types.NPY, body=array_body(ids)
    )


def tokenizers() -> Call[list[TokenizerInfo]]:
    """List the tokenizers."""
    return Call("GET", "/v1/tokenizers", _answers.read_tokenizers)


def tokenizer(name: str) -> Call[TokenizerInfo]:
    """Describe one tokenizer."""
    return Call("GET", path_of(name), _answers.read_tokenizer)


def tokenizer_of(grid: Grid, given: str | None, default: str) -> str:
    """Return who decodes a grid: who was asked to, else who the grid names, else the default."""
    if given is not None:
        return given
    return read_grid(grid).tokenizer if isinstance(grid, WholeGrid) else default


def path_of(name: str, operation: str = "") -> str:
    """Return the path of a tokenizer, or of one of its calls."""
    path = f"/v1/tokenizers/{quote(name, safe='')}"
    return f"{path}/{operation}" if operation else path
