"""The quantizer alone: feature maps to ids, ids to codes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.npy import write_npy
from vistok_protocol.schemas import LookupRequest
from vistok_server.answers import IDS_TYPES, ids_response
from vistok_server.jobs import Operation
from vistok_server.negotiation import choose
from vistok_server.routes.dependencies import (
    BINARY,
    PROBLEMS,
    TheEngine,
    TheSender,
    TheTokenizer,
    admitted,
    body_of,
    received,
    without_query,
)
from vistok_server.tokens_in import read_batch_of_ids, read_features

router = APIRouter(
    prefix="/v1/tokenizers/{name}",
    tags=["quantizer"],
    responses=PROBLEMS,
    dependencies=[Depends(admitted), Depends(without_query)],
)

LOOKUP_BODY = {
    media_types.JSON: {"schema": LookupRequest.model_json_schema()},
    media_types.NPY: BINARY,
}


@router.post("/quantize", openapi_extra=body_of({media_types.NPY: BINARY}))
async def quantize(
    request: Request,
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the ids `(b h w [k])` of a feature map `(b d h w)`, float16 or float32."""
    media_type = choose(accept, IDS_TYPES)
    part = await received(request, engine)
    features = await engine.off_loop(read_features, part, tokenizer, engine.settings)
    positions = features.size // tokenizer.latent_dim
    ids = await engine.run(sender, tokenizer, Operation.QUANTIZE, features, positions * tokenizer.factor**2)
    return await engine.off_loop(ids_response, ids, tokenizer, media_type)


@router.post("/lookup", openapi_extra=body_of(LOOKUP_BODY))
async def lookup(
    request: Request,
    engine: TheEngine,
    sender: TheSender,
    tokenizer: TheTokenizer,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the codes `(b d h w)` float32 of ids `(b h w [k])`."""
    media_type = choose(accept, (media_types.NPY,))
    part = await received(request, engine)
    ids = await engine.off_loop(read_batch_of_ids, part, tokenizer, engine.settings)
    positions = ids.size // tokenizer.codebooks
    codes = await engine.run(sender, tokenizer, Operation.LOOKUP, ids, positions * tokenizer.factor**2)
    return Response(await engine.off_loop(write_npy, codes), media_type=media_type)
