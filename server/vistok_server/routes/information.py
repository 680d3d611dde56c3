"""Which tokenizers there are, whether the service is alive and ready, and its figures."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from vistok_protocol.schemas import TokenizerInfo, TokenizerList
from vistok_server.metrics import CONTENT_TYPE
from vistok_server.routes.dependencies import PROBLEMS, TheEngine, TheTokenizer, identified, without_query

router = APIRouter(responses=PROBLEMS)
NO_QUERY = [Depends(identified), Depends(without_query)]


@router.head("/v1/tokenizers", include_in_schema=False, dependencies=NO_QUERY)
@router.get("/v1/tokenizers", tags=["tokenizers"], dependencies=NO_QUERY)
async def list_tokenizers(engine: TheEngine) -> TokenizerList:
    """List the tokenizers of this service."""
    return TokenizerList(tokenizers=list(engine.tokenizers().values()))


@router.head("/v1/tokenizers/{name}", include_in_schema=False, dependencies=NO_QUERY)
@router.get("/v1/tokenizers/{name}", tags=["tokenizers"], dependencies=NO_QUERY)
async def describe_tokenizer(tokenizer: TheTokenizer) -> TokenizerInfo:
    """Describe one tokenizer."""
    return tokenizer


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


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(engine: TheEngine) -> Response:
    """Give the service's figures as Prometheus reads them."""
    return Response(engine.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
