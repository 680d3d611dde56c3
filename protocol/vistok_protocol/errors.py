"""Every error code of the service, its HTTP status, and the exception that carries it.

A code is part of the contract: callers branch on it, so it never changes its meaning. The
exception is shared by the packages that can find the fault (token bytes, media, quantizers), so
that one place in the server turns any of them into an answer.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """A stable name for one kind of failure; `status` is the HTTP status it is answered with."""

    def __new__(cls, value: str, status: int) -> "ErrorCode":
        """Build a member from its name on the wire and its HTTP status."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.status = status
        return member

    status: int

    # What the caller can mend.
    INVALID_REQUEST = "invalid_request", 400
    EMPTY_BODY = "empty_body", 400
    INVALID_TOKENS = "invalid_tokens", 400
    UNAUTHORIZED = "unauthorized", 401
    TOKENIZER_NOT_FOUND = "tokenizer_not_found", 404
    GRID_NOT_FOUND = "grid_not_found", 404
    NOT_FOUND = "not_found", 404
    METHOD_NOT_ALLOWED = "method_not_allowed", 405
    NOT_ACCEPTABLE = "not_acceptable", 406
    FINGERPRINT_MISMATCH = "fingerprint_mismatch", 409
    TOO_LARGE = "too_large", 413
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable", 416
    UNREADABLE_MEDIA = "unreadable_media", 422
    INVALID_ARRAY = "invalid_array", 422
    INVALID_SHAPE = "invalid_shape", 422
    ID_OUT_OF_RANGE = "id_out_of_range", 422
    # What will pass.
    OVERLOADED = "overloaded", 429
    NOT_READY = "not_ready", 503
    TIMED_OUT = "timed_out", 504
    # A fault of ours.
    INTERNAL = "internal", 500


class VistokError(Exception):
    """A failure with a stable code and a sentence saying what came and what was expected."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type["VistokError"], tuple[ErrorCode, str]]:
        """Cross process boundaries whole: workers send these through pickled queues."""
        return type(self), (self.code, self.detail)
