"""What of a clip is read: which part of it, how many frames a second, and how large."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from vistok_protocol.errors import ErrorCode, VistokError

_HIGHEST_RATE = 1000
_LONGEST_SECONDS = 10**7
_MOST_FRAMES = 10**9
_LARGEST_SIDE = 65_536
# Whole numbers, decimals and fractions. What else Fraction would read ("1e999", "1_0") nobody means.
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12}|/[0-9]{1,12})?", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """What of a clip is read; the default is all of it, as it is.

    Attributes:
        fps: frames a second that are given, by repeating and leaving out; by default the clip's own rate.
        start: seconds from the clip's first frame to the first that is given.
        duration: seconds that are given, at most; by default to the end.
        max_frames: frames that are given, at most.
        max_side: shrink the frames so that their longer side has at most this many pixels.
    """

    fps: Fraction | None = None
    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    max_frames: int | None = None
    max_side: int | None = None

    @classmethod
    def parse(
        cls,
        fps: str | None = None,
        start: str | None = None,
        duration: str | None = None,
        max_frames: int | str | None = None,
        max_side: int | str | None = None,
    ) -> Self:
        """Read the values as they stand in a query or on a command line.

        Numbers are such as 24, 0.5 and 30000/1001; `max_frames` and `max_side` are whole.

        Raises:
            VistokError: INVALID_REQUEST, with the value that came and the values that are expected.
        """
        return cls(
            fps=None if fps is None else _number("fps", fps, _HIGHEST_RATE),
            start=Fraction(0) if start is None else _number("start", start, _LONGEST_SECONDS, zero=True),
            duration=None if duration is None else _number("duration", duration, _LONGEST_SECONDS),
            max_frames=None if max_frames is None else _whole("max_frames", str(max_frames), _MOST_FRAMES),
            max_side=None if max_side is None else _whole("max_side", str(max_side), _LARGEST_SIDE),
        )

    def frame_count(self, fps: Fraction, seconds: Fraction | None = None) -> int | None:
        """Give the most frames that are read at `fps` of a clip that lasts `seconds`; None is without end."""
        lengths = [self.duration, None if seconds is None else max(Fraction(0), seconds - self.start)]
        counts = [-(-length * fps // 1) for length in lengths if length is not None]
        counts += [] if self.max_frames is None else [self.max_frames]
        return min(counts, default=None)


def _number(name: str, text: str, most: int, zero: bool = False) -> Fraction:
    value = _fraction(text)
    if value is None or value > most or value < 0 or (value == 0 and not zero):
        least = "from 0" if zero else "above 0 and"
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected {name} to be a number {least} up to {most}, such as 0.5 or 30000/1001, got {text!r}",
        )
    return value


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text) if _NUMBER.fullmatch(text) else None
    except ZeroDivisionError:
        return None


def _whole(name: str, text: str, most: int) -> int:
    value = int(text) if re.fullmatch("[0-9]{1,12}", text) else 0
    if not 1 <= value <= most:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected {name} to be a whole number from 1 to {most}, got {text!r}"
        )
    return value
