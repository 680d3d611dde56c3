"""Building requests about grids that the service keeps, and addresses of what they show."""

from urllib.parse import quote

import httpx

from vistok_client import _answers
from vistok_client._call import Call
from vistok_client._calls import path_of
from vistok_client._inputs import Body, WholeGrid, read_grid
from vistok_client.errors import InvalidInput
from vistok_protocol import media_types
from vistok_protocol.tokens import TokenGrid

# What the service takes; a proxy in between may take less, often 8 KiB.
LONGEST_URL = 64_000


def put_grid(grid: WholeGrid) -> Call[str]:
    """Leave a grid with the service."""
    body = Body(read_grid(grid).to_bytes(), media_types.TOKENS)
    return Call("PUT", "/v1/grids", _answers.read_id, body=body)


def get_grid(identity: str) -> Call[TokenGrid]:
    """Get a grid that was put."""
    return Call("GET", _path(identity), _answers.read_grid, accept=media_types.TOKENS)


def reconstruction_url(base: httpx.URL, grid: WholeGrid | str, tokenizer: str | None) -> str:
    """Return the address of what a grid shows, or one that was put; InvalidInput for one that is too long."""
    root = str(base).rstrip("/")
    if isinstance(grid, str):
        if tokenizer is not None:
            raise InvalidInput("a grid that was put is shown by its own tokenizer: give the id alone")
        return f"{root}{_path(grid)}/reconstruction"
    whole = read_grid(grid)
    path = path_of(tokenizer or whole.tokenizer, "reconstruction")
    url = f"{root}{path}?tokens={whole.to_base64url()}"
    if len(url) > LONGEST_URL:
        raise InvalidInput(
            f"the URL for this grid has {len(url)} characters, the service takes {LONGEST_URL}: "
            "give the id that put_grid returns for it instead"
        )
    return url


def _path(identity: str) -> str:
    return f"/v1/grids/{quote(identity, safe='')}"
