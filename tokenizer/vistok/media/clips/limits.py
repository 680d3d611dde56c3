"""What a clip may cost: checked before decoding when its header tells, otherwise as soon as it is passed."""

from dataclasses import dataclass
from fractions import Fraction

from vistok_protocol.errors import ErrorCode, VistokError


@dataclass(frozen=True)
class ClipLimits:
    """The most that is read of one clip; what a selection leaves out does not count.

    Attributes:
        max_bytes: bytes read of the encoded clip.
        max_pixels: height x width of one frame, as it is encoded and as it is shown.
        max_frames: frames given.
        max_seconds: seconds that the frames given last.
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int = 16 * 10**6
    max_frames: int = 20_000
    max_seconds: int = 600

    def check_size(self, height: int, width: int) -> None:
        """Refuse frames of more pixels: TOO_LARGE."""
        if height * width > self.max_pixels:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"expected frames of at most {self.max_pixels} pixels, "
                f"got {height} x {width} = {height * width}",
            )

    def check_bytes(self, count: int, more: bool = False) -> None:
        """Refuse more bytes: TOO_LARGE; with `more` the clip has not ended with these."""
        if count > self.max_bytes:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"expected at most {self.max_bytes} bytes, got a clip of {count}{_or_more(more)}",
            )

    def check_length(self, frames: int, fps: Fraction, more: bool = False) -> None:
        """Refuse this many frames, or as long as they last at `fps`: TOO_LARGE."""
        seconds = frames / fps
        if seconds > self.max_seconds:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"expected a clip of at most {self.max_seconds} seconds, "
                f"got {float(seconds):.1f}{_or_more(more)}; a duration reads a part of it",
            )
        if frames > self.max_frames:
            raise VistokError(
                ErrorCode.TOO_LARGE,
                f"expected at most {self.max_frames} frames, got {frames}{_or_more(more)}; "
                "a lower fps or max_frames reads fewer of them",
            )


def _or_more(more: bool) -> str:
    return " or more" if more else ""
