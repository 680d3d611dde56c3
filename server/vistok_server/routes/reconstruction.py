"""What tokens show, as an answer to GET: it never changes, and clips can be had in parts."""

import hashlib
import re
from functools import partial
from pathlib import Path

from starlette.responses import Response

from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import TokenGrid
from vistok_server.answers import CLIP_TYPES, PICTURE_TYPES, VARY
from vistok_server.clips.cache import ClipCache
from vistok_server.clips.decoding import written_clip
from vistok_server.routes.caching import immutable, unchanged
from vistok_server.routes.call import Call
from vistok_server.routes.clips import FORMATS, clip_response
from vistok_server.routes.files import FileAnswer

_IN_PARTS = {"Accept-Ranges": "bytes"}
_PART = re.compile(r"(\d{0,18})-(\d{0,18})", re.ASCII)


def shown_types(tokenizer: TokenizerInfo) -> tuple[str, ...]:
    """Give the media types of what its tokens show."""
    return CLIP_TYPES if tokenizer.kind == "video" else PICTURE_TYPES


async def reconstruction_response(call: Call, grid: TokenGrid, identity: str, media_type: str) -> Response:
    """Answer with what a grid shows, which was checked and has this identity, as one of `shown_types`."""
    whole = f"{call.tokenizer.fingerprint} {media_type} {identity}"
    name = hashlib.sha256(whole.encode()).hexdigest()[:32]
    headers = VARY | immutable(name)
    if (known := unchanged(call.request, headers)) is not None:
        return known
    if call.tokenizer.kind == "video":
        return await _clip(call, grid, name, media_type, headers | _IN_PARTS)
    content = await call.work.decode(grid, media_type)
    return Response(content, headers=headers, media_type=media_type)


async def _clip(call: Call, grid: TokenGrid, name: str, media_type: str, headers: dict[str, str]) -> Response:
    """Give the clip as it is made; from a file where it is there, or has to be for its parts."""
    if call.request.method == "HEAD":
        return _head(media_type, headers)
    ranges = call.request.headers.get("range")
    if ranges is None or asks_for_parts(ranges):
        cache: ClipCache = call.request.app.state.clip_cache
        call.hold(cache.holding(name))
        file = await cache.find(name)
        if file is None and ranges is not None:
            file = await _made(call, cache, grid, name, media_type)
        if file is not None:
            return FileAnswer(file, media_type, headers, call.renew_time)
    return await clip_response(call, grid, media_type, headers)


async def _made(call: Call, cache: ClipCache, grid: TokenGrid, name: str, media_type: str) -> Path | None:
    make = partial(written_clip, call.shared_work(), grid, FORMATS[media_type])
    async for _ in call.lasting(cache.made(name, make)):
        pass
    return await cache.find(name)


def _head(media_type: str, headers: dict[str, str]) -> Response:
    """Say what there is; how long it is, nobody knows before it is made."""
    response = Response(headers=headers, media_type=media_type)
    del response.headers["content-length"]
    return response


def asks_for_parts(ranges: str) -> bool:
    """Whether a `Range` header is one of bytes; any other is as if it were not there (RFC 9110, 14.2)."""
    unit, _, parts = ranges.partition("=")
    return unit.strip().lower() == "bytes" and all(map(_is_part, parts.split(",")))


def _is_part(text: str) -> bool:
    part = _PART.fullmatch(text.strip())
    if part is None:
        return False
    first, last = part.groups()
    return int(first) <= int(last) if first and last else bool(first or last)
