"""The tree of what a call can raise.

TokenizerError
├── InvalidInput        what was given cannot be sent; nothing was sent
├── ConnectionFailed    no answer came
├── CallTimedOut        no answer came in time
├── UnreadableAnswer    something answered that is not the service
└── RequestRefused      the service answered with an error
    ├── InvalidRequest       any other 4xx: sending the same again does not help
    ├── NotFound             404
    ├── FingerprintMismatch  409
    ├── Overloaded           429
    ├── Unavailable          503, 504
    └── ServiceFailed        any other 5xx: a bug

ClipDamaged is no error but a warning: a part of a clip could not be read, and the rest was encoded.
"""

import warnings
from collections.abc import Iterable
from typing import Any


class TokenizerError(Exception):
    """Any failure of a call to the service. `request_id` is the one sent; None when nothing was sent."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id

    def __str__(self) -> str:
        message = str(self.args[0])
        return message if self.request_id is None else f"{message} (request {self.request_id})"


class InvalidInput(TokenizerError, ValueError):
    """What was given is no picture, grid or array that could be sent."""


class ConnectionFailed(TokenizerError, ConnectionError):
    """No answer came: the service is down, or the network is. The client has already retried."""


class CallTimedOut(TokenizerError, TimeoutError):
    """No answer came in the time that the client was told to wait."""


class UnreadableAnswer(TokenizerError):
    """The answer is not what the service promises: another server, or another version."""


class RequestRefused(TokenizerError):
    """The service answered with an error.

    `code` is the stable name from `vistok_protocol.errors.ErrorCode` (empty when something between client and
    service answered), `status` the HTTP status, `detail` a sentence, `retry_after` the seconds that the
    service asks to wait.
    """

    def __init__(
        self, detail: str, *, code: str, status: int, request_id: str, retry_after: float | None = None
    ) -> None:
        super().__init__(detail, request_id=request_id)
        self.detail = detail
        self.code = code
        self.status = status
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle passes no keywords to __init__: it is left out, and the fields come as the state.
        return RequestRefused.__new__, (type(self), *self.args), vars(self)

    def __str__(self) -> str:
        return f"{self.status} {self.code or 'without a code'}: {super().__str__()}"


class InvalidRequest(RequestRefused):
    """The request is wrong as it stands; `code` and `detail` say how."""


class NotFound(RequestRefused):
    """No tokenizer of this name is served, no grid has this id, or nothing is at this path."""


class FingerprintMismatch(RequestRefused):
    """The grid is of other weights than the tokenizer that was asked to decode it."""


class Overloaded(RequestRefused):
    """The queue is full. The client has already retried."""


class Unavailable(RequestRefused):
    """The service is starting or stopping (the client has already retried), or took too long."""


class ServiceFailed(RequestRefused):
    """The service failed: a bug worth a report with the request id."""


class ClipDamaged(UserWarning):
    """A part of a clip could not be read; its frames are shown as a viewer would show them."""


def warn_of_damage(sentences: Iterable[str]) -> None:
    """Warn whoever called the function that calls this one."""
    for sentence in sentences:
        warnings.warn(ClipDamaged(sentence), stacklevel=3)
