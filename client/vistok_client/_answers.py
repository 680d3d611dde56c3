"""Reading answers: plain functions for both clients.

Each reader takes a successful response and may raise any of UNREADABLE; `finish` turns every
outcome of a call into a value or an error of the tree.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import httpx
from numpy.typing import NDArray
from PIL import Image

from vistok_client._retry import Outcome, retry_after
from vistok_client.errors import (
    CallTimedOut,
    ConnectionFailed,
    FingerprintMismatch,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestRefused,
    ServiceFailed,
    Unavailable,
    UnreadableAnswer,
)
from vistok_client.reconstruction import Reconstruction
from vistok_protocol import media_types
from vistok_protocol.errors import VistokError
from vistok_protocol.npy import read_npy
from vistok_protocol.schemas import EncodedGrid, StoredGrid, TokenizerInfo, TokenizerList
from vistok_protocol.tokens import TokenGrid

Answer = TypeVar("Answer")

# What the readers of JSON, pydantic, numpy, Pillow and token bytes raise for bytes they cannot read.
UNREADABLE = (
    VistokError,
    ValueError,
    TypeError,
    KeyError,
    OSError,
    SyntaxError,
    Image.DecompressionBombError,
)
REFUSALS: dict[int, type[RequestRefused]] = {
    404: NotFound,
    409: FingerprintMismatch,
    429: Overloaded,
    503: Unavailable,
    504: Unavailable,
}


def finish(outcome: Outcome, read: Callable[[httpx.Response], Answer], request_id: str) -> Answer:
    """Return what `read` makes of a good answer; raise what any other outcome stands for."""
    if isinstance(outcome, httpx.TimeoutException):
        raise CallTimedOut(f"no answer in time: {_words(outcome)}", request_id=request_id) from outcome
    if not isinstance(outcome, httpx.Response):
        raise ConnectionFailed(f"no answer came: {_words(outcome)}", request_id=request_id) from outcome
    request_id = outcome.headers.get(media_types.REQUEST_ID, request_id)
    if outcome.is_error:
        raise _refused(outcome, request_id)
    with reading(outcome.url, request_id):
        if not outcome.is_success:
            raise ValueError(f"expected status 2xx, 4xx or 5xx, got {outcome.status_code}")
        return read(outcome)


@contextmanager
def reading(source: httpx.URL, request_id: str) -> Iterator[None]:
    """Turn what bytes raise that cannot be read into UnreadableAnswer."""
    try:
        yield
    except UNREADABLE as error:
        raise UnreadableAnswer(
            f"the answer from {source} cannot be read: {error}", request_id=request_id
        ) from error


def is_of_type(response: httpx.Response, media_type: str) -> bool:
    """Whether a response says that it is of a media type."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == media_type


def read_grid(response: httpx.Response) -> TokenGrid:
    """Read token bytes."""
    return TokenGrid.from_bytes(response.content)


def read_clip(response: httpx.Response) -> tuple[TokenGrid, list[str]]:
    """Read token bytes, and what the service says of damage to the clip."""
    return read_grid(response), read_warnings(json.loads(response.headers.get(media_types.WARNINGS, "[]")))


def read_warnings(warnings: Any) -> list[str]:
    """Read a list of sentences."""
    if not isinstance(warnings, list):
        raise TypeError(f"expected a list of warnings, got {warnings!r:.80}")
    return [str(warning) for warning in warnings]


def read_saved(response: httpx.Response, media_type: str) -> None:
    """Check the media type of an answer whose content was written to a file, if it has it."""
    if not is_of_type(response, media_type):
        raise ValueError(f"expected {media_type}, got {response.headers.get('content-type')}")


def read_unstreamed(response: httpx.Response) -> NoReturn:
    """Refuse an answer that should have been read while it came."""
    raise ValueError(f"expected {media_types.NDJSON}, got {response.headers.get('content-type')}")


def read_id(response: httpx.Response) -> str:
    """Read the id of a grid that was put."""
    return StoredGrid.model_validate_json(response.content).id


def read_items(response: httpx.Response, count: int) -> list[TokenGrid | RequestRefused]:
    """Read the answer to several files: a grid or an error for each, in their order."""
    items = response.json()["items"]
    if len(items) != count:
        raise ValueError(f"expected {count} items, got {len(items)}")
    return [_read_item(item) for item in items]


def read_image(response: httpx.Response) -> Image.Image:
    """Read a picture in any format that Pillow knows."""
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


def read_array(response: httpx.Response) -> NDArray[Any]:
    """Read an array from .npy bytes."""
    return read_npy(response.content, max_elements=len(response.content))


def read_reconstruction(response: httpx.Response) -> Reconstruction:
    """Read a picture and the measures beside it."""
    psnr, bits_per_pixel = (
        float(response.headers[name]) for name in (media_types.PSNR, media_types.BITS_PER_PIXEL)
    )
    return Reconstruction(read_image(response), psnr, bits_per_pixel)


def read_tokenizers(response: httpx.Response) -> list[TokenizerInfo]:
    """Read the list of tokenizers."""
    return TokenizerList.model_validate_json(response.content).tokenizers


def read_tokenizer(response: httpx.Response) -> TokenizerInfo:
    """Read the description of one tokenizer."""
    return TokenizerInfo.model_validate_json(response.content)


def refusal(problem: Mapping[str, Any]) -> RequestRefused:
    """Return the error that a problem stands for which is a part of an answer."""
    return _refusal(problem, int(problem["status"]), str(problem["request_id"]), None)


def _read_item(item: dict[str, Any]) -> TokenGrid | RequestRefused:
    if "error" in item:
        return refusal(item["error"])
    return EncodedGrid.model_validate(item).to_grid()


def _refused(response: httpx.Response, request_id: str) -> RequestRefused:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        # Not the service: a proxy, or another server at this address.
        problem = {"detail": f"{response.reason_phrase} without a description, from {response.url}"}
    return _refusal(problem, response.status_code, request_id, retry_after(response))


def _refusal(problem: Mapping[str, Any], status: int, request_id: str, wait: float | None) -> RequestRefused:
    other = InvalidRequest if status < 500 else ServiceFailed
    return REFUSALS.get(status, other)(
        str(problem.get("detail", "")),
        code=str(problem.get("code", "")),
        status=status,
        request_id=request_id,
        retry_after=wait,
    )


def _words(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
