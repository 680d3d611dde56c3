"""API keys: who may call, known by hashes alone."""

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

from vistok_protocol.errors import ErrorCode, VistokError

_SEPARATOR = ":"


class KeyRing:
    """The keys that are let in.

    A key has 256 random bits, so a plain hash of it tells nothing.

    Args:
        entries: `NAME:SHA256` for each, as `new_key` gives it; without any, every caller is let in.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._names = {
            digest: name for name, _, digest in (entry.rpartition(_SEPARATOR) for entry in entries)
        }

    def name_of(self, key: str | None) -> str | None:
        """Give the name of a key; None where no keys are asked for; UNAUTHORIZED for another key or none."""
        if not self._names:
            return None
        if key is None:
            raise VistokError(ErrorCode.UNAUTHORIZED, "expected an API key: Authorization: Bearer KEY")
        came = _digest(key)
        # All are compared, each in constant time: how long it takes says nothing about any of them.
        found = [name for digest, name in self._names.items() if hmac.compare_digest(digest, came)]
        if not found:
            raise VistokError(ErrorCode.UNAUTHORIZED, "the API key is not one of this service")
        return found[0]


def new_key(name: str) -> tuple[str, str]:
    """Make a key: what its owner sends, and the entry by which a `KeyRing` knows it."""
    key = f"vistok_{secrets.token_urlsafe(32)}"
    return key, f"{name}{_SEPARATOR}{_digest(key)}"


def _digest(key: str) -> str:
    return sha256(key.encode(errors="surrogateescape")).hexdigest()
