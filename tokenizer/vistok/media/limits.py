"""What a picture may cost, checked before anything is allocated for it."""

from dataclasses import dataclass

from vistok_protocol.errors import ErrorCode, VistokError


@dataclass(frozen=True)
class Limits:
    """Largest encoded size in bytes, and largest picture in pixels (height x width)."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64 * 10**6

    def check_size(self, height: int, width: int) -> None:
        """Refuse a picture of more pixels: TOO_LARGE."""
        if height * width > self.max_pixels:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"expected at most {self.max_pixels} pixels, got {height} x {width} = {height * width}",
            )
