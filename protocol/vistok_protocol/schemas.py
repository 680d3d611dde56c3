"""JSON bodies of requests and answers.

An answer is read leniently (a newer service may say more), a request strictly (a key that nobody
knows is a typing mistake). Ids are lists in lists; the token bytes stand beside them in base64url.
"""

from http import HTTPStatus
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.nested_ids import read_nested_ids
from vistok_protocol.tokens import Kind, PixelSize, TokenGrid


class Body(BaseModel):
    """What all bodies share: frozen, and written without the fields that are None."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    def body(self) -> dict[str, Any]:
        """Return the body as plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)


class Problem(Body):
    """An error as in RFC 9457 (`application/problem+json`), with our stable `code` and the request's id."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: ErrorCode
    request_id: str

    @classmethod
    def from_error(cls, error: VistokError, request_id: str) -> Self:
        """Describe an error that a request ended with."""
        return cls(
            title=HTTPStatus(error.code.status).phrase,
            status=error.code.status,
            detail=error.detail,
            code=error.code,
            request_id=request_id,
        )


class Pixels(Body):
    """The size of a picture, or of a clip when `frames` is given; `fps` is frames per second."""

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    frames: int | None = Field(default=None, ge=1)
    fps: float | None = Field(default=None, gt=0)

    @classmethod
    def from_size(cls, size: PixelSize) -> Self:
        """Describe a size; a rate such as 30000/1001 becomes the nearest float."""
        fps = None if size.fps is None else float(size.fps)
        return cls(height=size.height, width=size.width, frames=size.frames, fps=fps)

    def to_size(self) -> PixelSize:
        """Return the size; VistokError INVALID_TOKENS when a number is beyond the format's."""
        return PixelSize(self.height, self.width, self.frames, self.fps)


class EncodedGrid(Body):
    """A token grid as encode answers with it.

    `shape` is (h w), (t h w) or (n); `ids` has that shape, with the codebooks (if several) as one more axis
    at the end. An id above 2**53 is not exact in JavaScript; `tokens` always is.
    """

    tokenizer: str
    fingerprint: str
    kind: Kind
    shape: list[int]
    vocabulary_size: int
    pixels: Pixels
    ids: list[Any] | None = None
    tokens: str

    @classmethod
    def from_grid(cls, grid: TokenGrid, include_ids: bool = True) -> Self:
        """Describe a grid, with or without the nested list of its ids."""
        return cls(
            tokenizer=grid.tokenizer,
            fingerprint=grid.fingerprint,
            kind=grid.kind,
            shape=list(grid.shape),
            vocabulary_size=grid.vocabulary_size,
            pixels=Pixels.from_size(grid.pixels),
            ids=grid.ids.tolist() if include_ids else None,
            tokens=grid.to_base64url(),
        )

    def to_grid(self) -> TokenGrid:
        """Return the grid in `tokens`; VistokError INVALID_TOKENS when another field disagrees with it."""
        grid = TokenGrid.from_base64url(self.tokens)
        _check_agreement(self, grid)
        return grid


class DecodeRequest(Body):
    """What decode takes as JSON: encode's answer as it came, or a part of it with `tokens`, `ids` or both.

    `fingerprint` and `pixels` are for ids without tokens: the tokenizer that they are of, and the size
    to crop the picture to. Fields that disagree with `tokens` are refused.
    """

    model_config = ConfigDict(extra="forbid")

    tokens: str | None = None
    ids: list[Any] | None = None
    fingerprint: str | None = None
    pixels: Pixels | None = None
    tokenizer: str | None = None
    kind: Kind | None = None
    shape: list[int] | None = None
    vocabulary_size: int | None = None

    def to_grid(self) -> TokenGrid | None:
        """Return the grid in `tokens`, or None; VistokError INVALID_TOKENS when a field disagrees with it."""
        if self.tokens is None:
            return None
        grid = TokenGrid.from_base64url(self.tokens)
        _check_agreement(self, grid)
        return grid

    def to_ids(self) -> NDArray[np.int64]:
        """Return `ids` as an array of any shape and range; VistokError as in `read_nested_ids`."""
        if self.ids is None:
            raise VistokError(
                ErrorCode.INVALID_REQUEST, "expected 'tokens' or 'ids' in the body, got neither"
            )
        return read_nested_ids(self.ids)


class NewTokenizer(BaseModel):
    """What is asked for when a service is to serve one more: a bundled name, or a folder on its machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1, max_length=4096)


class LookupRequest(Body):
    """What lookup takes as JSON: ids (b h w), with the codebooks (if several) as one more axis at the end."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Any]

    def to_ids(self) -> NDArray[np.int64]:
        """Return `ids` as an array of any shape and range; VistokError as in `read_nested_ids`."""
        return read_nested_ids(self.ids)


class QuantizedIds(Body):
    """What quantize answers with: ids of `shape` (b h w), with the codebooks (if several) at the end."""

    tokenizer: str
    fingerprint: str
    shape: list[int]
    vocabulary_size: int
    ids: list[Any]


class StoredGrid(Body):
    """What keeping a grid answers with: its address, the SHA-256 of its token bytes in hexadecimal digits."""

    id: str


class FailedItem(Body):
    """One of several files that could not be encoded."""

    error: Problem


class Items(Body):
    """What encode answers with to several files, in their order: a grid or an error for each."""

    items: list[EncodedGrid | FailedItem]


class TokenizerInfo(Body):
    """What a service says of one tokenizer.

    `temporal_factor` is 1 for an image tokenizer; `parameters` counts the weights; `quality` holds
    measured numbers by name (such as "psnr"), None where nothing was measured.
    """

    name: str
    kind: Literal["image", "video"]
    quantizer: str
    vocabulary_size: int
    codebooks: int
    latent_dim: int
    spatial_factor: int
    temporal_factor: int = 1
    fingerprint: str
    licence: str
    parameters: int
    quality: dict[str, float] | None = None

    @property
    def factor(self) -> int:
        """Pixels per id, along height and along width: `spatial_factor` by its short name."""
        return self.spatial_factor


class TokenizerList(Body):
    """The tokenizers that a service offers."""

    tokenizers: list[TokenizerInfo]


def _check_agreement(given: EncodedGrid | DecodeRequest, grid: TokenGrid) -> None:
    """Refuse a body whose other fields say something else than its tokens."""
    if given.ids is not None and not np.array_equal(read_nested_ids(given.ids), grid.ids):
        raise VistokError(
            ErrorCode.INVALID_TOKENS, "'ids' and 'tokens' disagree: send one, or send them alike"
        )
    expected = EncodedGrid.from_grid(grid, include_ids=False)
    for name in ("tokenizer", "fingerprint", "kind", "shape", "vocabulary_size", "pixels"):
        came, in_tokens = getattr(given, name), getattr(expected, name)
        if came is not None and came != in_tokens:
            raise VistokError(
                ErrorCode.INVALID_TOKENS, f"{name!r} and 'tokens' disagree: {came!r} and {in_tokens!r}"
            )
