"""The quantizer alone: feature maps to ids, ids to codes."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.npy import write_npy
from vistok_protocol.schemas import LookupRequest, QuantizedIds
from vistok_server.answers import IDS_TYPES, ids_response
from vistok_server.routes.call import CallRoute, entered
from vistok_server.routes.documentation import BINARY, PROBLEMS, described, documented
from vistok_server.routes.queries import NoQuery
from vistok_server.tokens_in import read_batch_of_ids, read_features

router = APIRouter(
    prefix="/v1/tokenizers/{name}",
    tags=["quantizer"],
    responses=PROBLEMS,
    default_response_class=Response,
    route_class=CallRoute,
)

LOOKUP_BODY = {
    media_types.JSON: described(LookupRequest),
    media_types.NPY: BINARY,
}


@router.post("/quantize", openapi_extra=documented(None, {media_types.NPY: BINARY}, IDS_TYPES, QuantizedIds))
async def quantize(request: Request) -> Response:
    """Give the ids `(b h w [k])` of a feature map `(b d h w)`, float16 or float32."""
    call = entered(request)
    call.query(NoQuery)
    media_type = call.answer_type(*IDS_TYPES)
    part, off_loop = await call.body(), call.engine.off_loop
    features = await off_loop(read_features, part, call.tokenizer, call.engine.settings)
    ids = await call.work.quantize(features)
    return await off_loop(ids_response, ids, call.tokenizer, media_type)


@router.post("/lookup", openapi_extra=documented(body=LOOKUP_BODY, answers=(media_types.NPY,)))
async def lookup(request: Request) -> Response:
    """Give the codes `(b d h w)` float32 of ids `(b h w [k])`."""
    call = entered(request)
    call.query(NoQuery)
    media_type = call.answer_type(media_types.NPY)
    part, off_loop = await call.body(), call.engine.off_loop
    ids = await off_loop(read_batch_of_ids, part, call.tokenizer, call.engine.settings)
    codes = await call.work.look_up(ids)
    return Response(await off_loop(write_npy, codes), media_type=media_type)
