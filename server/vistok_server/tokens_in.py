"""Ids and feature maps at the door: bodies to checked grids and arrays."""

from typing import TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ValidationError

from vistok.grid_rules import SPACES, check_grid, check_ids
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import read_npy
from vistok_protocol.schemas import DecodeRequest, LookupRequest, TokenizerInfo
from vistok_protocol.token_header import Header
from vistok_protocol.tokens import PixelSize, TokenGrid
from vistok_server.parts import Part
from vistok_server.settings import Settings

Model = TypeVar("Model", bound=BaseModel)

# Of the longest clips, whose ids then take 128 MiB.
_MOST_POSITIONS = 2**24


def read_grid(
    part: Part, tokenizer: TokenizerInfo, settings: Settings, any_fingerprint: bool = False
) -> TokenGrid:
    """Give the grid in a body, checked to be one that this tokenizer can decode.

    Raises INVALID_REQUEST, INVALID_TOKENS, INVALID_ARRAY, INVALID_SHAPE, ID_OUT_OF_RANGE, TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE, and FINGERPRINT_MISMATCH unless any fingerprint will do.
    """
    limit = _most_ids(tokenizer, settings)
    match part.media_type:
        case media_types.TOKENS:
            grid = TokenGrid.from_bytes(part.data, max_ids=limit)
        case media_types.JSON:
            request = parse_json(part.data, DecodeRequest)
            grid = _grid_of_request(request, tokenizer, limit, any_fingerprint)
        case media_types.NPY:
            grid = _grid_of_ids(
                read_npy(part.data, max_elements=limit), tokenizer, None, tokenizer.fingerprint
            )
        case _:
            raise _unsupported(part, media_types.JSON, media_types.TOKENS, media_types.NPY)
    _check_count(grid.ids.size, limit)
    check_grid(tokenizer, grid, any_fingerprint)
    _check_frame(grid, tokenizer, settings)
    return grid


def read_grid_from_url(tokens: str, tokenizer: TokenizerInfo, settings: Settings) -> TokenGrid:
    """Give the grid in base64url, checked as in `read_grid`."""
    grid = TokenGrid.from_base64url(tokens, max_ids=_most_ids(tokenizer, settings))
    check_grid(tokenizer, grid)
    _check_frame(grid, tokenizer, settings)
    return grid


def tokenizer_of(part: Part) -> str:
    """Give the name in token bytes, of which no more is read; UNSUPPORTED_MEDIA_TYPE, and as `read_grid`."""
    if part.media_type != media_types.TOKENS:
        raise _unsupported(part, media_types.TOKENS)
    return Header.from_bytes(part.data).tokenizer


def read_features(part: Part, tokenizer: TokenizerInfo, settings: Settings) -> np.ndarray:
    """Give a feature map `(b d [t] h w)` as float32; INVALID_ARRAY, INVALID_SHAPE, UNSUPPORTED_MEDIA_TYPE."""
    if part.media_type != media_types.NPY:
        raise _unsupported(part, media_types.NPY)
    features = read_npy(part.data, max_elements=_most_positions(tokenizer, settings) * tokenizer.latent_dim)
    if features.dtype not in (np.float16, np.float32):
        raise VistokError(ErrorCode.INVALID_ARRAY, f"expected float16 or float32, got {features.dtype}")
    space = SPACES[tokenizer.kind]
    if features.ndim != 2 + len(space.split()) or features.shape[1] != tokenizer.latent_dim:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"expected (b d {space}) with d = {tokenizer.latent_dim}, got {features.shape}",
        )
    if not np.isfinite(features).all():
        raise VistokError(ErrorCode.INVALID_ARRAY, "expected finite features, got NaN or infinity among them")
    return features.astype(np.float32)


def read_batch_of_ids(part: Part, tokenizer: TokenizerInfo, settings: Settings) -> np.ndarray:
    """Give ids `(b [t] h w [k])` int64, all in range; the errors of `read_grid`."""
    limit = _most_ids(tokenizer, settings)
    match part.media_type:
        case media_types.JSON:
            ids = parse_json(part.data, LookupRequest).to_ids()
        case media_types.NPY:
            ids = read_npy(part.data, max_elements=limit)
        case _:
            raise _unsupported(part, media_types.JSON, media_types.NPY)
    check_ids(tokenizer, ids)
    _check_count(ids.size, limit)
    return ids.astype(np.int64)


def parse_json(data: bytes, model: type[Model]) -> Model:
    """Read a JSON body; INVALID_REQUEST names what is wrong with it."""
    try:
        return model.model_validate(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"expected a JSON body: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:80] or "the whole body"
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{where}: {first['msg']}, got {str(first['input'])[:80]!r}"
        ) from None


def _grid_of_request(
    request: DecodeRequest, tokenizer: TokenizerInfo, limit: int, any_fingerprint: bool
) -> TokenGrid:
    if request.tokens is not None:
        TokenGrid.from_base64url(request.tokens, max_ids=limit)  # before anything is compared with it
    if (grid := request.to_grid()) is not None:
        return grid
    size = None if request.pixels is None else request.pixels.to_size()
    fingerprint = tokenizer.fingerprint if request.fingerprint is None else request.fingerprint
    grid = _grid_of_ids(request.to_ids(), tokenizer, size, fingerprint)
    _check_agreement(request, grid)
    if request.tokenizer not in (None, tokenizer.name) and not any_fingerprint:
        raise VistokError(
            ErrorCode.FINGERPRINT_MISMATCH,
            f"expected ids of {tokenizer.name}, got ids of {request.tokenizer[:80]!r}; "
            "any_fingerprint decodes them all the same",
        )
    return grid


def _check_agreement(request: DecodeRequest, grid: TokenGrid) -> None:
    """Refuse bare ids whose other fields say something else than this tokenizer reads in them."""
    expected = {"shape": list(grid.shape), "kind": grid.kind, "vocabulary_size": grid.vocabulary_size}
    for name, value in expected.items():
        came = getattr(request, name)
        if came not in (None, value):
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"{name!r} and 'ids' disagree: for {grid.tokenizer} it is {value!r}, got {str(came)[:80]}",
            )


def _grid_of_ids(
    ids: np.ndarray, tokenizer: TokenizerInfo, size: PixelSize | None, fingerprint: str
) -> TokenGrid:
    _check_shape(ids, tokenizer)
    check_ids(tokenizer, ids[None])
    return TokenGrid(
        ids=ids,
        tokenizer=tokenizer.name,
        fingerprint=fingerprint,
        kind=tokenizer.kind,
        vocabulary_size=tokenizer.vocabulary_size,
        pixels=size or _largest_size(ids, tokenizer),
        codebooks=tokenizer.codebooks,
    )


def _largest_size(ids: np.ndarray, tokenizer: TokenizerInfo) -> PixelSize:
    """Give the size of all that ids stand for."""
    *latents, rows, columns = ids.shape if tokenizer.codebooks == 1 else ids.shape[:-1]
    frames = 1 + (latents[0] - 1) * tokenizer.temporal_factor if latents else None
    return PixelSize(rows * tokenizer.factor, columns * tokenizer.factor, frames)


def _check_shape(ids: np.ndarray, tokenizer: TokenizerInfo) -> None:
    """Refuse what is no grid of one picture or clip, in the caller's terms: those of batches confuse."""
    several = tokenizer.codebooks > 1
    space = SPACES[tokenizer.kind]
    fits = ids.ndim == len(space.split()) + several and (not several or ids.shape[-1] == tokenizer.codebooks)
    if ids.dtype.kind not in "iu" or not fits or 0 in ids.shape:
        expected = f"({space} {tokenizer.codebooks})" if several else f"({space})"
        raise VistokError(
            ErrorCode.INVALID_SHAPE, f"expected whole numbers {expected}, got {ids.dtype} {ids.shape}"
        )


def _most_positions(tokenizer: TokenizerInfo, settings: Settings) -> int:
    """Give how many positions of a grid stand for the largest picture that the model takes."""
    return settings.max_model_pixels // tokenizer.factor**2


def _most_ids(tokenizer: TokenizerInfo, settings: Settings) -> int:
    latents = 1 + settings.max_clip_frames // tokenizer.temporal_factor if tokenizer.kind == "video" else 1
    return min(_most_positions(tokenizer, settings) * latents, _MOST_POSITIONS) * tokenizer.codebooks


def _check_frame(grid: TokenGrid, tokenizer: TokenizerInfo, settings: Settings) -> None:
    rows, columns = grid.shape[-2:]
    if rows * columns > _most_positions(tokenizer, settings):
        raise VistokError(
            ErrorCode.TOO_LARGE,
            f"expected at most {_most_positions(tokenizer, settings)} ids of one frame, got {rows * columns}",
        )


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise VistokError(ErrorCode.TOO_LARGE, f"expected at most {limit} ids, got {count}")


def _unsupported(part: Part, *expected: str) -> VistokError:
    return VistokError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"expected {' or '.join(expected)}, got {part.media_type[:80]!r}"
    )
