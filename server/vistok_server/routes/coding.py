"""Pictures to grids and back: encode, decode, reconstruct, reconstruction."""

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from vistok.evaluation.psnr import psnr
from vistok.media.fitting import Fit
from vistok_protocol import media_types
from vistok_protocol.errors import VistokError
from vistok_protocol.schemas import DecodeRequest, FailedItem, Problem, TokenizerInfo
from vistok_server.answers import GRID_TYPES, VARY, grid_content, grid_response, json_response
from vistok_server.bodies import Part, is_multipart, read_parts
from vistok_server.engine import Engine
from vistok_server.jobs import Sender
from vistok_server.negotiation import choose
from vistok_server.pictures import PICTURE_TYPES, write_picture
from vistok_server.problems import request_id_of
from vistok_server.routes.dependencies import (
    BINARY,
    PROBLEMS,
    TheEngine,
    TheSender,
    TheTokenizer,
    admitted,
    body_of,
    received,
)
from vistok_server.routes.queries import DecodeQuery, EncodeQuery, FitQuery, ReconstructionQuery
from vistok_server.tokens_in import read_grid, read_grid_from_url

router = APIRouter(
    prefix="/v1/tokenizers/{name}", tags=["pictures"], responses=PROBLEMS, dependencies=[Depends(admitted)]
)
Accept = Annotated[str | None, Header()]

FILES = {"schema": {"type": "object", "additionalProperties": BINARY["schema"]}}
PICTURE_BODY = {"image/*": BINARY, media_types.NPY: BINARY}
GRID_BODY = {
    media_types.JSON: {"schema": DecodeRequest.model_json_schema()},
    media_types.TOKENS: BINARY,
    media_types.NPY: BINARY,
}
# A grid of so few ids is written in less time than it takes to hand it to a thread.
QUICK_IDS = 4096
IMMUTABLE = "public, max-age=31536000, immutable"


@router.post("/encode", openapi_extra=body_of(PICTURE_BODY | {"multipart/form-data": FILES}))
async def encode(
    request: Request,
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    query: Annotated[EncodeQuery, Query()],
    accept: Accept = None,
) -> Response:
    """Give the token grid of a picture; of several files `{"items": […]}`, each a grid or an error."""
    fit = query.to_fit()
    if is_multipart(request):
        choose(accept, (media_types.JSON,))
        return await _encode_files(request, engine, sender, tokenizer, fit, query.ids)
    media_type = choose(accept, GRID_TYPES)
    part = await received(request, engine)
    async with engine.encoded(sender, tokenizer, part, fit) as encoded:
        if encoded.grid.ids.size <= QUICK_IDS:
            return grid_response(encoded.grid, media_type, query.ids)
        return await engine.off_loop(grid_response, encoded.grid, media_type, query.ids)


@router.post("/decode", openapi_extra=body_of(GRID_BODY))
async def decode(
    request: Request,
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    query: Annotated[DecodeQuery, Query()],
    accept: Accept = None,
) -> Response:
    """Give the picture of a token grid: encode's answer, bare `{"ids": [[…]]}`, token bytes, an id array."""
    media_type = choose(accept, PICTURE_TYPES)
    part = await received(request, engine)
    grid = await engine.off_loop(read_grid, part, tokenizer, engine.settings, query.any_fingerprint)
    async with engine.decoded(sender, tokenizer, grid) as picture:
        content = await engine.off_loop(write_picture, picture, media_type)
    return Response(content, headers=VARY, media_type=media_type)


@router.head("/reconstruction", include_in_schema=False)
@router.get("/reconstruction")
async def reconstruction(
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    query: Annotated[ReconstructionQuery, Query()],
    accept: Accept = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the picture of the tokens in the URL: for `<img src>`, and for caches, since it never changes."""
    media_type = choose(accept, PICTURE_TYPES)
    grid = await engine.off_loop(read_grid_from_url, query.tokens, tokenizer, engine.settings)
    identity = f"{tokenizer.fingerprint} {media_type} {query.tokens.rstrip('=')}"
    etag = f'"{hashlib.sha256(identity.encode()).hexdigest()[:32]}"'
    headers = VARY | {"ETag": etag, "Cache-Control": IMMUTABLE}
    if if_none_match is not None and _matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    async with engine.decoded(sender, tokenizer, grid) as picture:
        content = await engine.off_loop(write_picture, picture, media_type)
    return Response(content, headers=headers, media_type=media_type)


@router.post("/reconstruct", openapi_extra=body_of(PICTURE_BODY))
async def reconstruct(
    request: Request,
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    query: Annotated[FitQuery, Query()],
    accept: Accept = None,
) -> Response:
    """Give a picture after one round trip through tokens; its PSNR and bits per pixel stand in headers."""
    media_type = choose(accept, PICTURE_TYPES)
    fit = query.to_fit()
    part = await received(request, engine)
    async with engine.encoded(sender, tokenizer, part, fit) as encoded:
        picture = await engine.decode(sender, tokenizer, encoded.grid)
        headers = {
            media_types.PSNR: f"{await engine.off_loop(psnr, encoded.picture, picture):.2f}",
            media_types.BITS_PER_PIXEL: f"{encoded.grid.bits_per_pixel:.4f}",
        }
        content = await engine.off_loop(write_picture, picture, media_type)
    return Response(content, headers=VARY | headers, media_type=media_type)


async def _encode_files(
    request: Request, engine: Engine, sender: Sender, tokenizer: TokenizerInfo, fit: Fit, include_ids: bool
) -> Response:
    async with engine.uploading():
        parts = await read_parts(request, engine.settings.max_multipart_bytes, engine.settings.max_files)
    with engine.admit(sender, len(parts) - 1):  # the call itself holds one place
        async with asyncio.TaskGroup() as group:
            items = [
                group.create_task(
                    _item(part, engine, sender, tokenizer, fit, include_ids, request_id_of(request))
                )
                for part in parts
            ]
    return await engine.off_loop(json_response, {"items": [item.result() for item in items]})


async def _item(
    part: Part,
    engine: Engine,
    sender: Sender,
    tokenizer: TokenizerInfo,
    fit: Fit,
    include_ids: bool,
    request_id: str,
) -> dict[str, Any]:
    """Give a grid or an error as a JSON object: one bad file spoils none of the others."""
    try:
        async with engine.encoded(sender, tokenizer, part, fit) as encoded:
            return await engine.off_loop(grid_content, encoded.grid, include_ids)
    except VistokError as error:
        return FailedItem(error=Problem.from_error(error, request_id)).body()


def _matches(if_none_match: str, etag: str) -> bool:
    candidates = (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))
    return any(candidate in ("*", etag) for candidate in candidates)
