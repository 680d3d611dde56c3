"""Adding and removing tokenizers while serving; only there when the settings name administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import NewTokenizer, TokenizerInfo
from vistok_server.bodies import read_part
from vistok_server.routes.documentation import PROBLEMS, described
from vistok_server.routes.information import TheEngine
from vistok_server.tokens_in import parse_json

_LARGEST_BODY = 65_536
_BODY = {media_types.JSON: described(NewTokenizer)}

ADMIN = HTTPBearer(scheme_name="Administrator", auto_error=False, description="A key of `admin_keys`.")


async def administrator(
    engine: TheEngine, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(ADMIN)]
) -> None:
    """Refuse everybody else: UNAUTHORIZED."""
    engine.admin_keys.name_of(credentials.credentials if credentials else None)


router = APIRouter(
    prefix="/v1/tokenizers",
    tags=["administration"],
    responses=PROBLEMS,
    dependencies=[Depends(administrator)],
)


@router.post("", status_code=201, openapi_extra={"requestBody": {"required": True, "content": _BODY}})
async def add_tokenizer(request: Request, engine: TheEngine) -> TokenizerInfo:
    """Serve one more: a bundled name, or a folder that the service can read; all workers have it then."""
    part = await read_part(request, _LARGEST_BODY, count=lambda _: None)
    source = parse_json(part.data, NewTokenizer).source
    if source in engine.served.sources:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{source[:200]!r} is served already")
    before = engine.tokenizers()
    after = await engine.change([*engine.served.sources, source])
    return next(info for name, info in after.items() if name not in before)


@router.delete("/{name}", status_code=204)
async def remove_tokenizer(engine: TheEngine, name: str) -> Response:
    """Serve one less; what was begun for it is finished first."""
    source = engine.served.source_of(name)
    rest = [other for other in engine.served.sources if other != source]
    if not rest:
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{name} is the last tokenizer of this service")
    await engine.change(rest)
    return Response(status_code=204)
