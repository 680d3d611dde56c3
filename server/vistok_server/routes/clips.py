"""Clips to grids."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from vistok.grid_rules import make_grid
from vistok.media.clips.formats import OutputFormat
from vistok.media.clips.limits import ClipLimits
from vistok_protocol import media_types
from vistok_protocol.errors import VistokError
from vistok_protocol.schemas import FailedItem, Problem
from vistok_protocol.tokens import TokenGrid
from vistok_server.answers import CLIP_TYPES, GRID_TYPES, VARY, grid_content, grid_response, json_response
from vistok_server.clips.decoding import written_clip
from vistok_server.clips.encoding import clip_encoding
from vistok_server.parts import Part
from vistok_server.routes.call import Call
from vistok_server.routes.queries import ClipQuery, DecodeQuery
from vistok_server.routes.streaming import StreamedResponse
from vistok_server.settings import Settings
from vistok_server.tokens_in import read_grid

FORMATS: dict[str, OutputFormat] = {
    media_types.MP4: "mp4",
    media_types.WEBM: "webm",
    media_types.GIF: "gif",
    media_types.WEBP: "webp",
    media_types.NPY: "npy",
}
# Of a clip whose ids leave as they are done: nothing of it is kept, so it may go on for ever.
_ENDLESS = 2**62


async def encode_clip(call: Call) -> Response:
    """Give the token grid of a clip; as NDJSON a grid for each piece of it, as soon as that is done."""
    query = call.query(ClipQuery)
    media_type = call.answer_type(*GRID_TYPES, media_types.NDJSON)
    if media_type == media_types.NDJSON:
        lines = _lines(call, query)
        # What is wrong with a clip from its beginning is an answer with a status of its own.
        return StreamedResponse(await anext(lines), lines, media_type, VARY)
    grid, warnings = await _grid(call, query, call.stream(call.engine.settings.max_clip_bytes))
    response = await call.engine.off_loop(grid_response, grid, media_type, query.ids)
    if warnings:
        response.headers[media_types.WARNINGS] = json.dumps(warnings)  # in ASCII, as headers are
    return response


async def encode_clips(call: Call) -> Response:
    """Give the grids of several files, or an error for each that has none, one after the other."""
    query = call.query(ClipQuery)
    call.answer_type(media_types.JSON)
    items = [await _item(call, query, part) for part in await call.files()]
    return await call.engine.off_loop(json_response, {"items": items})


async def _item(call: Call, query: ClipQuery, part: Part) -> dict[str, Any]:
    async def body() -> AsyncGenerator[bytes]:
        yield part.data

    try:
        grid, _ = await _grid(call, query, body())
    except VistokError as error:
        return FailedItem(error=Problem.from_error(error, call.request_id)).body()
    return grid_content(grid, query.ids)


async def _grid(call: Call, query: ClipQuery, body: AsyncGenerator[bytes]) -> tuple[TokenGrid, list[str]]:
    """Give a clip's grid, and sentences on what is damaged."""
    settings = call.engine.settings
    limits = _limits(settings, settings.max_clip_frames, settings.max_clip_seconds)
    async with clip_encoding(call.lasting_work(), body, query.to_selection(), query.to_fit(), limits) as clip:
        ids = np.concatenate([piece.ids async for piece in call.lasting(clip.pieces)])
    return make_grid(call.tokenizer, ids, clip.size(clip.frames)), clip.warnings


async def decode_clip(call: Call) -> Response:
    """Give the clip of a token grid, as it is made."""
    query = call.query(DecodeQuery)
    media_type = call.answer_type(*CLIP_TYPES)
    part = await call.body()
    arguments = part, call.tokenizer, call.engine.settings, query.any_fingerprint
    grid = await call.engine.off_loop(read_grid, *arguments)
    return await clip_response(call, grid, media_type, VARY)


async def clip_response(
    call: Call, grid: TokenGrid, media_type: str, headers: Mapping[str, str]
) -> StreamedResponse:
    """Answer with the clip of a grid that was checked, as one of `CLIP_TYPES`."""
    pieces = call.lasting(written_clip(call.lasting_work(), grid, FORMATS[media_type]))
    return StreamedResponse(await anext(pieces), pieces, media_type, headers)


async def _lines(call: Call, query: ClipQuery) -> AsyncGenerator[bytes]:
    """Give a line for each piece, and one for the whole; an error in between is the last line."""
    limits = _limits(call.engine.settings, _ENDLESS, _ENDLESS)
    body, work = call.stream(_ENDLESS), call.lasting_work()
    start = 0
    try:
        async with clip_encoding(work, body, query.to_selection(), query.to_fit(), limits) as clip:
            async for piece in call.lasting(clip.pieces):
                grid = make_grid(call.tokenizer, piece.ids, clip.size(piece.frames))
                yield _line({"start": start, **grid_content(grid, query.ids)})
                start += len(piece.ids)
        yield _line({"end": start, "frames": clip.frames, "warnings": clip.warnings})
    except VistokError as error:
        if not start:
            raise
        yield _line({"error": Problem.from_error(error, call.request_id).body()})


def _limits(settings: Settings, max_frames: int, max_seconds: int) -> ClipLimits:
    """Limit what is read of a clip; its bytes are counted where the body is read."""
    return ClipLimits(_ENDLESS, settings.max_pixels, max_frames, max_seconds)


def _line(content: dict[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
