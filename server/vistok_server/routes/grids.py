"""Grids that are kept for GET: those too long for a URL, and those to come back to."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.schemas import StoredGrid
from vistok_server.answers import SHOWN_TYPES, json_response
from vistok_server.grid_store import GridStore
from vistok_server.parts import Part
from vistok_server.routes.caching import immutable, unchanged
from vistok_server.routes.call import CallRoute, Entry, let_in
from vistok_server.routes.documentation import (
    BINARY,
    GRID_ID,
    IN_PARTS,
    PROBLEMS,
    UNCHANGED,
    Answers,
    described,
    documented,
)
from vistok_server.routes.queries import NoQuery
from vistok_server.routes.reconstruction import reconstruction_response, shown_types
from vistok_server.tokens_in import read_grid, tokenizer_of

PREFIX = "/v1/grids"

router = APIRouter(
    prefix=PREFIX,
    tags=["grids"],
    responses=PROBLEMS,
    default_response_class=Response,
    route_class=CallRoute,
)

NEW: Answers = {201: {"description": "It is new", "content": {media_types.JSON: described(StoredGrid)}}}


@router.put(
    "",
    openapi_extra=documented(None, {media_types.TOKENS: BINARY}, (media_types.JSON,), StoredGrid, path=()),
    responses=NEW,
)
async def keep_grid(request: Request) -> Response:
    """Keep a token grid of a tokenizer that is served, and give the address of its bytes.

    The least recently used grids go when there is no room for all.
    """
    entry = let_in(request)
    entry.query(NoQuery)
    entry.answer_type(media_types.JSON)
    part, off_loop = await entry.body(), entry.engine.off_loop
    call = entry.call(tokenizer_of(part))
    grid = await off_loop(read_grid, part, call.tokenizer, entry.engine.settings)
    grid_id, is_new = await off_loop(_store(request).put, grid)
    response = json_response(StoredGrid(id=grid_id).body())
    if is_new:
        response.status_code = 201
        response.headers["Location"] = f"{PREFIX}/{grid_id}"
    return response


@router.head("/{id}", include_in_schema=False)
@router.get(
    "/{id}", openapi_extra=documented(answers=(media_types.TOKENS,), path=GRID_ID), responses=UNCHANGED
)
async def kept_grid(request: Request) -> Response:
    """Give the token bytes of a grid that is kept."""
    entry = let_in(request)
    entry.query(NoQuery)
    media_type = entry.answer_type(media_types.TOKENS)
    part = await _kept(entry)
    headers = immutable(request.path_params["id"])
    return unchanged(request, headers) or Response(part.data, headers=headers, media_type=media_type)


@router.head("/{id}/reconstruction", include_in_schema=False)
@router.get(
    "/{id}/reconstruction",
    openapi_extra=documented(answers=SHOWN_TYPES, path=GRID_ID),
    responses=UNCHANGED | IN_PARTS,
)
async def kept_reconstruction(request: Request) -> Response:
    """Give what a grid shows that is kept: for `<img src>`, `<video src>`, and caches: it never changes."""
    entry = let_in(request)
    entry.query(NoQuery)
    part = await _kept(entry)
    call = entry.call(tokenizer_of(part))
    media_type = call.answer_type(*shown_types(call.tokenizer))
    grid = await call.engine.off_loop(read_grid, part, call.tokenizer, call.engine.settings)
    return await reconstruction_response(call, grid, request.path_params["id"], media_type)


async def _kept(entry: Entry) -> Part:
    """Give the grid that the path names, as it would be sent; GRID_NOT_FOUND, OVERLOADED (bytes)."""
    data = await entry.engine.off_loop(_store(entry.request).get, entry.request.path_params["id"])
    entry.count(len(data))
    return Part(data, media_types.TOKENS)


def _store(request: Request) -> GridStore:
    return request.app.state.grid_store
