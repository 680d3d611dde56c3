"""Pictures to grids and back: encode, decode, reconstruct, reconstruction."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from vistok.media.fitting import Fit
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import DecodeRequest, EncodedGrid, FailedItem, Items, Problem
from vistok_server.answers import (
    GRID_TYPES,
    PICTURE_TYPES,
    SHOWN_TYPES,
    VARY,
    grid_content,
    grid_response,
    json_response,
)
from vistok_server.bodies import is_multipart
from vistok_server.parts import Part
from vistok_server.routes.call import Call, CallRoute, entered
from vistok_server.routes.clips import decode_clip, encode_clip, encode_clips
from vistok_server.routes.documentation import BINARY, IN_PARTS, PROBLEMS, UNCHANGED, described, documented
from vistok_server.routes.queries import ClipQuery, DecodeQuery, EncodeQuery, FitQuery, ReconstructionQuery
from vistok_server.routes.reconstruction import reconstruction_response, shown_types
from vistok_server.tokens_in import read_grid, read_grid_from_url

router = APIRouter(
    prefix="/v1/tokenizers/{name}",
    tags=["pictures"],
    responses=PROBLEMS,
    default_response_class=Response,
    route_class=CallRoute,
)

FILES = {"schema": {"type": "object", "additionalProperties": BINARY["schema"]}}
PICTURE_BODY = {"image/*": BINARY, media_types.NPY: BINARY}
CLIP_BODY = {"video/*": BINARY, "multipart/form-data": FILES}
GRID_BODY = {
    media_types.JSON: described(DecodeRequest),
    media_types.TOKENS: BINARY,
    media_types.NPY: BINARY,
}
# What is read or written in less time than it takes to hand it to a thread.
QUICK_IDS = 4096
QUICK_BYTES = 16_384


@router.post(
    "/encode",
    openapi_extra=documented(
        ClipQuery, PICTURE_BODY | CLIP_BODY, (*GRID_TYPES, media_types.NDJSON), EncodedGrid, Items
    ),
)
async def encode(request: Request) -> Response:
    """Give the token grid of a picture; of several files `{"items": […]}`, each a grid or an error.

    A video tokenizer takes clips and pictures. As NDJSON it answers while the clip is still
    arriving: a grid for each piece, with the place of its first latent frame (`start`), and at last
    `{"end", "frames", "warnings"}`, or `{"error"}`. Parameters of clips are refused by other tokenizers.
    """
    call = entered(request)
    if call.tokenizer.kind == "video":
        return await (encode_clips if is_multipart(request) else encode_clip)(call)
    query = call.query(EncodeQuery)
    fit = query.to_fit()
    if is_multipart(request):
        call.answer_type(media_types.JSON)
        return await _encode_files(call, fit, query.ids)
    media_type = call.answer_type(*GRID_TYPES)
    grid = await call.work.encode(await call.body(), fit)
    if grid.ids.size <= QUICK_IDS:
        return grid_response(grid, media_type, query.ids)
    return await call.engine.off_loop(grid_response, grid, media_type, query.ids)


@router.post(
    "/decode",
    openapi_extra=documented(DecodeQuery, GRID_BODY, SHOWN_TYPES),
)
async def decode(request: Request) -> Response:
    """Give the picture of a token grid: encode's answer, bare `{"ids": [[…]]}`, token bytes, an id array.

    A video tokenizer gives the clip, by default as MP4.
    """
    call = entered(request)
    if call.tokenizer.kind == "video":
        return await decode_clip(call)
    query = call.query(DecodeQuery)
    media_type = call.answer_type(*PICTURE_TYPES)
    part = await call.body()
    arguments = part, call.tokenizer, call.engine.settings, query.any_fingerprint
    if len(part.data) <= QUICK_BYTES:
        grid = read_grid(*arguments)
    else:
        grid = await call.engine.off_loop(read_grid, *arguments)
    content = await call.work.decode(grid, media_type)
    return Response(content, headers=VARY, media_type=media_type)


@router.head("/reconstruction", include_in_schema=False)
@router.get(
    "/reconstruction",
    openapi_extra=documented(ReconstructionQuery, answers=SHOWN_TYPES),
    responses=UNCHANGED | IN_PARTS,
)
async def reconstruction(request: Request) -> Response:
    """Give what the tokens in the URL show: for `<img src>`, `<video src>`, and caches: it never changes."""
    call = entered(request)
    tokens = call.query(ReconstructionQuery).tokens
    media_type = call.answer_type(*shown_types(call.tokenizer))
    grid = read_grid_from_url(tokens, call.tokenizer, call.engine.settings)
    return await reconstruction_response(call, grid, tokens.rstrip("="), media_type)


@router.post("/reconstruct", openapi_extra=documented(FitQuery, PICTURE_BODY, PICTURE_TYPES))
async def reconstruct(request: Request) -> Response:
    """Give a picture after one round trip through tokens; its PSNR and bits per pixel stand in headers."""
    call = entered(request)
    if call.tokenizer.kind == "video":
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"{call.tokenizer.name} is for clips: encode them, and decode the tokens",
        )
    fit = call.query(FitQuery).to_fit()
    media_type = call.answer_type(*PICTURE_TYPES)
    done = await call.work.reconstruct(await call.body(), fit, media_type)
    measured = {media_types.PSNR: done.psnr, media_types.BITS_PER_PIXEL: f"{done.bits_per_pixel:.4f}"}
    return Response(done.content.tobytes(), headers=VARY | measured, media_type=media_type)


async def _encode_files(call: Call, fit: Fit, include_ids: bool) -> Response:
    parts = await call.files()
    with call.engine.admit(call.work.sender, len(parts) - 1):  # the call itself holds one place
        async with asyncio.TaskGroup() as group:
            items = [group.create_task(_item(part, call, fit, include_ids)) for part in parts]
    return await call.engine.off_loop(json_response, {"items": [item.result() for item in items]})


async def _item(part: Part, call: Call, fit: Fit, include_ids: bool) -> dict[str, Any]:
    """Give a grid or an error as a JSON object: one bad file spoils none of the others."""
    try:
        grid = await call.work.encode(part, fit)
    except VistokError as error:
        return FailedItem(error=Problem.from_error(error, call.request_id)).body()
    return grid_content(grid, include_ids)
