"""Results as bodies: grids and arrays in the media type that was asked for."""

from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.npy import write_npy
from vistok_protocol.schemas import EncodedGrid, TokenizerInfo
from vistok_protocol.tokens import TokenGrid

GRID_TYPES = (media_types.JSON, media_types.TOKENS, media_types.NPY)
CLIP_TYPES = (media_types.MP4, media_types.WEBM, media_types.GIF, media_types.WEBP, media_types.NPY)
IDS_TYPES = (media_types.JSON, media_types.NPY)
PICTURE_TYPES = (media_types.PNG, media_types.WEBP, media_types.JPEG, media_types.NPY)
SHOWN_TYPES = (*PICTURE_TYPES, media_types.MP4, media_types.WEBM, media_types.GIF)
"""Of pictures or of clips."""
VARY = {"Vary": "Accept"}


def json_response(content: dict[str, Any]) -> Response:
    """Answer with JSON; numpy arrays in it become nested lists without passing through Python numbers."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type=media_types.JSON)


def grid_content(grid: TokenGrid, include_ids: bool) -> dict[str, Any]:
    """Give the JSON object of a grid; its ids stay an array, for `json_response`."""
    content = EncodedGrid.from_grid(grid, include_ids=False).body()
    return content | {"ids": grid.ids} if include_ids else content


def grid_response(grid: TokenGrid, media_type: str, include_ids: bool) -> Response:
    """Answer with one grid, as one of `GRID_TYPES`."""
    if media_type == media_types.TOKENS:
        return Response(grid.to_bytes(), headers=VARY, media_type=media_type)
    if media_type == media_types.NPY:
        return Response(write_npy(grid.ids), headers=VARY, media_type=media_type)
    response = json_response(grid_content(grid, include_ids))
    response.headers.update(VARY)
    return response


def ids_response(ids: np.ndarray, tokenizer: TokenizerInfo, media_type: str) -> Response:
    """Answer with the ids of feature maps, as one of `IDS_TYPES`."""
    if media_type == media_types.NPY:
        return Response(write_npy(ids), headers=VARY, media_type=media_type)
    response = json_response(
        {
            "tokenizer": tokenizer.name,
            "fingerprint": tokenizer.fingerprint,
            "shape": ids.shape[:3],
            "vocabulary_size": tokenizer.vocabulary_size,
            "ids": ids,
        }
    )
    response.headers.update(VARY)
    return response
