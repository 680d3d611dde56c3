"""What is tokenizer, and whether it is alive and ready."""

from fastapi import APIRouter

from vistok_protocol.schemas import TokenizerInfo, TokenizerList
from vistok_server.routes.dependencies import PROBLEMS, TheEngine, TheTokenizer

router = APIRouter(responses=PROBLEMS)


@router.get("/v1/tokenizers", tags=["tokenizers"])
async def list_tokenizers(engine: TheEngine) -> TokenizerList:
    """List the tokenizers of this service."""
    return TokenizerList(tokenizers=[tokenizer.describe() for tokenizer in engine.tokenizers().values()])


@router.get("/v1/tokenizers/{name}", tags=["tokenizers"])
async def describe_tokenizer(tokenizer: TheTokenizer) -> TokenizerInfo:
    """Describe one tokenizer."""
    return tokenizer.describe()


@router.get("/livez", tags=["health"])
async def live() -> dict[str, str]:
    """Answer as long as the process can answer at all."""
    return {"status": "alive"}


@router.get("/readyz", tags=["health"])
async def ready(engine: TheEngine) -> dict[str, str | list[str]]:
    """Answer 200 when work is taken, 503 while the tokenizers are loaded and while the service stops."""
    return {"status": "ready", "tokenizers": list(engine.tokenizers())}
