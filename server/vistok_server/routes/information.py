"""Which tokenizers there are, whether the service is alive and ready, and its figures."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from vistok_protocol.schemas import TokenizerInfo, TokenizerList
from vistok_server.engine import Engine
from vistok_server.metrics import CONTENT_TYPE
from vistok_server.routes.call import identify, read_query
from vistok_server.routes.documentation import PROBLEMS, SECURITY_SCHEME
from vistok_server.routes.queries import NoQuery

BEARER = HTTPBearer(
    scheme_name=SECURITY_SCHEME,
    auto_error=False,
    description="An API key, where the service asks for one.",
)

router = APIRouter(responses=PROBLEMS)


async def engine_of(request: Request) -> Engine:
    """Give the engine of the application that serves this request."""
    return request.app.state.engine


TheEngine = Annotated[Engine, Depends(engine_of)]


async def plain_and_identified(
    request: Request,
    engine: TheEngine,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
) -> None:
    """Refuse callers without a key where keys are asked for, and whatever stands in the query."""
    identify(request, engine)
    read_query(request, NoQuery)


PLAIN = [Depends(plain_and_identified)]
OR_NO_KEY: dict[str, list[dict[str, list[str]]]] = {
    "security": [{}]
}  # beside the one that the dependency brings


@router.head("/v1/tokenizers", include_in_schema=False, dependencies=PLAIN)
@router.get("/v1/tokenizers", tags=["tokenizers"], dependencies=PLAIN, openapi_extra=OR_NO_KEY)
async def list_tokenizers(engine: TheEngine) -> TokenizerList:
    """List the tokenizers of this service."""
    return TokenizerList(tokenizers=list(engine.tokenizers().values()))


@router.head("/v1/tokenizers/{name}", include_in_schema=False, dependencies=PLAIN)
@router.get("/v1/tokenizers/{name}", tags=["tokenizers"], dependencies=PLAIN, openapi_extra=OR_NO_KEY)
async def describe_tokenizer(engine: TheEngine, name: str) -> TokenizerInfo:
    """Describe one tokenizer."""
    return engine.tokenizer(name)


@router.head("/livez", include_in_schema=False)
@router.get("/livez", tags=["health"])
async def live() -> dict[str, str]:
    """Answer as long as the process can answer at all."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", tags=["health"])
async def ready(engine: TheEngine) -> dict[str, str | list[str]]:
    """Answer 200 when work is done, 503 before a worker runs, while none does, and while stopping."""
    return {"status": "ready", "tokenizers": list(engine.check_ready())}


@router.get(
    "/metrics",
    tags=["health"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(engine: TheEngine) -> Response:
    """Give the service's figures as Prometheus reads them."""
    return Response(engine.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
