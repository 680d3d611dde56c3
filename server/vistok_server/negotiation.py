"""Which of the offered media types an `Accept` header asks for."""

from collections.abc import Sequence

from vistok_protocol.errors import ErrorCode, VistokError


def choose(accept: str | None, offered: Sequence[str]) -> str:
    """Give the offered media type that the caller likes best; among equals the one offered first.

    As RFC 9110 has it, the most specific range that matches a type decides about it. Raises
    NOT_ACCEPTABLE when none is wanted.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise VistokError(
            ErrorCode.NOT_ACCEPTABLE, f"can answer with {', '.join(offered)}, got Accept: {accept[:200]!r}"
        )
    return best


def _parse_range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _parse_quality(value.strip())
    return media_range, 1.0


def _parse_quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    for wanted in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        qualities = [quality for media_range, quality in ranges if media_range == wanted]
        if qualities:
            return max(qualities)
    return 0.0
