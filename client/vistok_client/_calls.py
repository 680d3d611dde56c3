"""Building requests: one plain function for each call, for both clients."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vistok_client import _answers
from vistok_client._inputs import Body, Grid, Picture, WholeGrid, array_body, picture_body, read_grid
from vistok_client._retry import Outcome
from vistok_client.errors import InvalidInput, RequestRefused, TokenizerError
from vistok_client.reconstruction import Reconstruction
from vistok_protocol import media_types
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import TokenGrid

# What the service takes; a proxy in between may take less, often 8 KiB.
LONGEST_URL = 64_000

Fit = Literal["pad", "crop", "resize"]
Output = Literal["pil", "numpy"]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request and how to read its answer. Holds bytes alone, so it can be sent again."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    params: dict[str, str] = field(default_factory=dict)
    accept: str = media_types.JSON
    body: Body | None = None
    parts: tuple[Body, ...] = ()
    request_id: str = field(default_factory=lambda: uuid4().hex)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of httpx's `request`."""
        headers = {"Accept": self.accept, media_types.REQUEST_ID: self.request_id}
        arguments = {"method": self.method, "url": self.path, "params": self.params, "headers": headers}
        if self.body:
            headers["Content-Type"] = self.body.media_type
            return {**arguments, "content": self.body.content}
        if self.parts:
            return {**arguments, "files": [_file(number, part) for number, part in enumerate(self.parts)]}
        return arguments

    def finish(self, outcome: Outcome) -> Answer:
        """Return the answer, or raise the TokenizerError that the outcome stands for."""
        return _answers.finish(outcome, self.read, self.request_id)


@dataclass(frozen=True)
class Preparation:
    """What happens to a picture before it is encoded: see `Client.encode`."""

    max_side: int | None = None
    fit: Fit | None = None
    size: tuple[int, int] | None = None

    def params(self) -> dict[str, str]:
        """Return the query parameters, without those that were not given."""
        size = None if self.size is None else f"{self.size[0]}x{self.size[1]}"
        given = {"max_side": self.max_side, "fit": self.fit, "size": size}
        return {name: str(value) for name, value in given.items() if value is not None}


def encode(name: str, picture: Picture, preparation: Preparation) -> Call[TokenGrid]:
    """Encode one picture."""
    return Call(
        "POST",
        _path(name, "encode"),
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
        _path(name, "encode"),
        partial(_answers.read_items, count=len(bodies)),
        params={**preparation.params(), "ids": "false"},
        parts=tuple(bodies),
    )


def bodies_of(pictures: Sequence[Picture]) -> list[Body | InvalidInput]:
    """Return a body for each picture, or why it cannot be sent: one bad picture spoils no other."""
    return [_body_or_error(picture) for picture in pictures]


def in_order(
    bodies: Sequence[Body | InvalidInput], answers: Iterable[TokenGrid | RequestRefused]
) -> list[TokenGrid | TokenizerError]:
    """Put the answers to the bodies that were sent where those bodies stood."""
    remaining = iter(answers)
    return [body if isinstance(body, InvalidInput) else next(remaining) for body in bodies]


def decode_to_image(name: str, grid: Grid, any_fingerprint: bool) -> Call[Image.Image]:
    """Decode a grid to a picture."""
    return _decode(name, grid, any_fingerprint, media_types.PNG, _answers.read_image)


def decode_to_array(name: str, grid: Grid, any_fingerprint: bool) -> Call[NDArray[np.uint8]]:
    """Decode a grid to an array."""
    return _decode(name, grid, any_fingerprint, media_types.NPY, _answers.read_array)


def reconstruct(name: str, picture: Picture, preparation: Preparation) -> Call[Reconstruction]:
    """Encode and decode one picture."""
    return Call(
        "POST",
        _path(name, "reconstruct"),
        _answers.read_reconstruction,
        params=preparation.params(),
        accept=media_types.PNG,
        body=picture_body(picture),
    )


def quantize(name: str, features: ArrayLike) -> Call[NDArray[np.int64]]:
    """Turn a feature map into ids."""
    return Call(
        "POST",
        _path(name, "quantize"),
        _answers.read_array,
        accept=media_types.NPY,
        body=array_body(features),
    )


def lookup(name: str, ids: ArrayLike) -> Call[NDArray[np.float32]]:
    """Turn ids into codes."""
    return Call(
        "POST", _path(name, "lookup"), _answers.read_array, accept=media_types.NPY, body=array_body(ids)
    )


def tokenizers() -> Call[list[TokenizerInfo]]:
    """List the tokenizers."""
    return Call("GET", "/v1/tokenizers", _answers.read_tokenizers)


def tokenizer(name: str) -> Call[TokenizerInfo]:
    """Describe one tokenizer."""
    return Call("GET", _path(name), _answers.read_tokenizer)


def tokenizer_of(grid: Grid, given: str | None, default: str) -> str:
    """Return who decodes a grid: who was asked to, else who the grid names, else the default."""
    if given is not None:
        return given
    return read_grid(grid).tokenizer if isinstance(grid, WholeGrid) else default


def reconstruction_url(base: httpx.URL, name: str, grid: WholeGrid) -> str:
    """Return the address of the decoded picture; InvalidInput when it is longer than LONGEST_URL."""
    root = str(base).rstrip("/")
    url = f"{root}{_path(name, 'reconstruction')}?tokens={read_grid(grid).to_base64url()}"
    if len(url) > LONGEST_URL:
        raise InvalidInput(
            f"the URL for this grid has {len(url)} characters, the service takes {LONGEST_URL}: "
            "decode it with a request instead"
        )
    return url


def _body_or_error(picture: Picture) -> Body | InvalidInput:
    try:
        return picture_body(picture)
    except InvalidInput as error:
        return error
    except OSError as error:
        return InvalidInput(f"the picture cannot be read: {error}")


def _decode(
    name: str, grid: Grid, any_fingerprint: bool, accept: str, read: Callable[[httpx.Response], Answer]
) -> Call[Answer]:
    if isinstance(grid, WholeGrid):
        body = Body(read_grid(grid).to_bytes(), media_types.TOKENS)
    else:
        body = array_body(grid)
    params = {"any_fingerprint": "true"} if any_fingerprint else {}
    return Call("POST", _path(name, "decode"), read, params=params, accept=accept, body=body)


def _file(number: int, part: Body) -> tuple[str, tuple[str, bytes, str]]:
    # A file name is what makes a part a file; services have no use for the real one.
    return "pictures", (f"{number}", part.content, part.media_type)


def _path(name: str, operation: str = "") -> str:
    path = f"/v1/tokenizers/{quote(name, safe='')}"
    return f"{path}/{operation}" if operation else path
