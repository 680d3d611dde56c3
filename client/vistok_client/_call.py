"""One call: what is sent, how its answer is read, and whether it can be sent again."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import httpx

from vistok_client import _answers
from vistok_client._inputs import Body
from vistok_client._retry import Attempts, Outcome
from vistok_client._uploads import Upload
from vistok_protocol import media_types

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request and how to read its answer.

    A good answer of a call with a `file` is written there, and `read` sees its head alone. A call that
    `is_lasting` goes on for as long as something moves: the service is told no time for the whole of it.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    params: dict[str, str] = field(default_factory=dict)
    accept: str = media_types.JSON
    body: Body | Upload | None = None
    parts: tuple[Body, ...] = ()
    file: Path | None = None
    is_lasting: bool = False
    request_id: str = field(default_factory=lambda: uuid4().hex)

    def arguments(self, patience: Mapping[str, str]) -> dict[str, Any]:
        """Return the keyword arguments of httpx's `stream`, without the content; `patience` is a header."""
        headers = {"Accept": self.accept, media_types.REQUEST_ID: self.request_id}
        headers |= {} if self.is_lasting else patience
        arguments = {"method": self.method, "url": self.path, "params": self.params, "headers": headers}
        if self.body:
            headers["Content-Type"] = self.body.media_type
        if isinstance(self.body, Upload) and self.body.length is not None:
            headers["Content-Length"] = str(self.body.length)
        if self.parts:
            return {**arguments, "files": [_file(number, part) for number, part in enumerate(self.parts)]}
        return arguments

    def content(self) -> AbstractContextManager[Any]:
        """Open the content for httpx's `Client`."""
        if isinstance(self.body, Upload):
            return self.body.opened()
        return nullcontext(self.body and self.body.content)

    def async_content(self) -> AbstractAsyncContextManager[Any]:
        """Open the content for httpx's `AsyncClient`."""
        if isinstance(self.body, Upload):
            return self.body.opened_async()
        return nullcontext(self.body and self.body.content)

    def attempts(self, retries: int) -> Attempts:
        """Return the tries that this call may have."""
        once = isinstance(self.body, Upload) and not self.body.is_repeatable
        return Attempts(0 if once else retries)

    def file_for(self, response: httpx.Response) -> Path | None:
        """Return where the content of a response goes; None where `read` wants it."""
        is_good = response.is_success and _answers.is_of_type(response, self.accept)
        return self.file if is_good else None

    def finish(self, outcome: Outcome) -> Answer:
        """Return the answer, or raise the TokenizerError that the outcome stands for."""
        return _answers.finish(outcome, self.read, self.request_id)


def patience(timeout: float | httpx.Timeout, given: Mapping[str, str] | None) -> dict[str, str]:
    """Return the header by which the service works no longer than the client waits; the caller's own wins."""
    seconds = httpx.Timeout(timeout).read
    if seconds is None or media_types.TIMEOUT in httpx.Headers(given):
        return {}
    return {media_types.TIMEOUT: str(max(1, round(seconds * 1000)))}


def _file(number: int, part: Body) -> tuple[str, tuple[str, bytes, str]]:
    # A file name is what makes a part a file; services have no use for the real one.
    return "pictures", (f"{number}", part.content, part.media_type)
