"""What a picture may cost, checked before anything is allocated for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Largest encoded size in bytes, and largest picture in pixels (height x width)."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64 * 10**6
