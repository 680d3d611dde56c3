"""Bytes as they stand in a URL or in JSON: base64url without padding, in one spelling alone."""

import base64
import binascii

from vistok_protocol.errors import ErrorCode, VistokError


def to_base64url(data: bytes) -> str:
    """Return bytes as text."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Return the bytes of a text with or without padding; VistokError INVALID_TOKENS for any other text."""
    bare = text.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    try:
        data = base64.b64decode(bare + padding, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _invalid(f"expected tokens in base64url, got {text[:40]!r}") from error
    # Python's decoder also takes "+", "/" and stray bits at the end: second spellings of the same bytes.
    canonical = to_base64url(data)
    if text not in (canonical, canonical + padding):
        raise _invalid(f"expected tokens in canonical base64url, got {text[:40]!r}")
    return data


def _invalid(detail: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_TOKENS, detail)
