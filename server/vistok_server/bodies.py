"""Reading what a caller sends, with its limits checked while it streams in."""

from collections.abc import AsyncGenerator, Callable

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.parts import Part

Count = Callable[[int], None]
"""Told the bytes that have come; raises when they are too many for the house."""


def media_type_of(content_type: str | None) -> str:
    """Give the media type of a Content-Type header; empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_multipart(request: Request) -> bool:
    """Whether the body holds several parts."""
    return media_type_of(request.headers.get("content-type")) == "multipart/form-data"


async def read_part(request: Request, max_bytes: int, count: Count) -> Part:
    """Read a raw body; EMPTY_BODY, TOO_LARGE (nothing is read past the limit), and what counting raises."""
    data = b"".join([chunk async for chunk in limited_stream(request, max_bytes, count)])
    if not data:
        raise VistokError(ErrorCode.EMPTY_BODY, "the body is empty: zero bytes came")
    return Part(data, media_type_of(request.headers.get("content-type")))


async def read_parts(request: Request, max_bytes: int, max_files: int, count: Count) -> list[Part]:
    """Read the files of a multipart body in order, under whatever field names they came.

    Raises TOO_LARGE, INVALID_REQUEST (no multipart, cut short, too many files, a field that is no file),
    EMPTY_BODY (no file at all). A file that is empty or too large is the business of whoever reads it.
    """

    async def whole_stream() -> AsyncGenerator[bytes, None]:
        async for chunk in limited_stream(request, max_bytes, count):
            yield chunk
        if parser.begun and not parser.complete:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "the multipart body is cut short: it has no closing boundary",
            )

    parser = _Parser(request.headers, whole_stream(), max_files=max_files, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a multipart body of files: {error.message}"
        ) from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise VistokError(ErrorCode.EMPTY_BODY, "the multipart body holds no file")
        return [Part(await file.read(), media_type_of(file.content_type)) for file in files]
    finally:
        await form.close()


class _Parser(MultiPartParser):
    """Knows whether the first part has begun, and whether the closing boundary has come."""

    begun = complete = False

    def on_part_begin(self) -> None:
        self.begun = True
        super().on_part_begin()

    def on_end(self) -> None:
        self.complete = True
        super().on_end()


async def limited_stream(request: Request, max_bytes: int, count: Count) -> AsyncGenerator[bytes, None]:
    """Read a body piece by piece; TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, and what counting raises."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise VistokError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected no Content-Encoding, got {encoding[:40]!r}",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(f"{declared} bytes are announced", max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large("more came", max_bytes)
        count(len(chunk))
        yield chunk


def _too_large(what: str, max_bytes: int) -> VistokError:
    return VistokError(ErrorCode.TOO_LARGE, f"the body may have {max_bytes} bytes, {what}")
