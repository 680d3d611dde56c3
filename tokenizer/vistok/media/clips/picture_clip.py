"""Pictures as clips: animated WebP and PNG, which FFmpeg cannot read here, and those that stand still."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from PIL import Image, UnidentifiedImageError

from vistok.media.clips.constant_rate import Timed
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.source import ClipSource
from vistok.media.image import to_rgb
from vistok_protocol.errors import ErrorCode, VistokError

STILL = Fraction(1)
"""What a picture that stands still is as a clip: one frame of one second."""

_FORMATS = ("WEBP", "PNG", "JPEG", "BMP", "TIFF")
_STARTS = re.compile(rb"RIFF....WEBP|\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM....\0\0\0\0|II\*\0|MM\0\*", re.DOTALL)
# A JPEG that ends where another begins is motion JPEG, if it is no photograph with others attached.
_NEXT_JPEG = re.compile(rb"\xff\xd9[\0\xff]{0,16}\xff\xd8\xff")
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError)
_COMMON_RATES = (
    *map(Fraction, (24, 25, 30, 50, 60, 10, 12, 15, 20)),
    *(Fraction(thousands * 1000, 1001) for thousands in (24, 30, 60)),
)
# Browsers show animations of no delay, or nearly none, at this pace.
_USUAL_DELAY = Fraction(1, 10)


def is_picture(source: ClipSource) -> bool:
    """Say by the first bytes whether Pillow reads this clip; motion JPEG is told apart from one JPEG."""
    head = source.peek(16)
    return _STARTS.match(head) is not None and not is_motion_jpeg(source)


def is_motion_jpeg(source: ClipSource) -> bool:
    """Say whether the bytes are JPEGs, one after another; looks no further than the second."""
    if source.peek(3) != b"\xff\xd8\xff":
        return False
    length = 2**16
    while True:
        data = source.peek(length)
        if b"MPF\0" in data[: 2**16]:
            return False
        if _NEXT_JPEG.search(data):
            return True
        if len(data) < length:
            return False
        length *= 2


class PictureClip:
    """The frames of an animation, or the one frame of a picture.

    Attributes:
        height: of the frames.
        width: of the frames.
        rate: frames a second, on average.
        seconds: how long the animation is, if it tells.
    """

    def __init__(self, picture: Image.Image, data: bytes, warnings: list[str]) -> None:
        self._picture = picture
        self._warnings = warnings
        self._count = getattr(picture, "n_frames", 1)
        self._first = np.asarray(to_rgb(picture))
        self.height, self.width = self._first.shape[:2]
        delays = _webp_delays(data) if picture.format == "WEBP" else []
        if len(delays) == self._count > 1:
            seconds = sum(delays, Fraction(0))
            self.rate = _tidy_rate(self._count, seconds)
            self.seconds: Fraction | None = seconds
        else:
            self.rate = 1 / self._delay()
            self.seconds = None if self._count > 1 else STILL

    def frames(self) -> Iterator[Timed[np.ndarray]]:
        """Decode one frame after another, uint8 `(height width 3)`."""
        time = Fraction(0)
        for index in range(self._count):
            try:
                self._picture.seek(index)
                pixels = np.asarray(to_rgb(self._picture)) if index else self._first
            except _DAMAGED as error:
                self._warnings.append(
                    f"the animation is damaged after {float(time):.2f} s and ends there: {error}"
                )
                return
            yield Timed(pixels, time, self._delay())
            time += self._delay()

    def _delay(self) -> Fraction:
        if self._count == 1:
            return STILL
        return _delay_of(self._picture.info.get("duration", 0))


@contextmanager
def opened_picture(source: ClipSource, limits: ClipLimits, warnings: list[str]) -> Iterator[PictureClip]:
    """Read the picture, all its bytes: decoders need them. Frames are decoded when they are asked for.

    Raises:
        VistokError: UNREADABLE_MEDIA, TOO_LARGE (pixels as the header tells them).
    """
    data = source.rest()
    whole = _whole_chunks(data)
    if len(whole) < len(data):
        data = whole
        warnings.append("the animation is cut short; the frames that have arrived are shown")
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        limits.check_size(picture.height, picture.width)
        clip = PictureClip(picture, data, warnings)
    except Image.DecompressionBombError as bomb:
        raise VistokError(
            ErrorCode.TOO_LARGE, f"expected frames of at most {limits.max_pixels} pixels: {bomb}"
        ) from None
    except UnidentifiedImageError:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA, f"expected a clip or picture, got bytes starting {data[:16]!r}"
        ) from None
    except _DAMAGED as error:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA, f"the picture is damaged or cut short: {error}"
        ) from None
    with picture:
        yield clip


def _delay_of(milliseconds: float) -> Fraction:
    return Fraction(milliseconds) / 1000 if milliseconds > 10 else _USUAL_DELAY


def _whole_chunks(data: bytes) -> bytes:
    """Take a frame that has not arrived off an animated WebP: its decoder wants all or nothing."""
    if data[:4] != b"RIFF" or len(data) >= int.from_bytes(data[4:8], "little") + 8:
        return data
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + size > len(data):
            break
        place += 8 + size + size % 2
    return data[:4] + (place - 8).to_bytes(4, "little") + data[8:place] if place > 12 else data


def _webp_delays(data: bytes) -> list[Fraction]:
    """Read how long each frame is shown, without decoding any: from the headers of the ANMF chunks."""
    delays, place = [], 12
    while place + 24 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"ANMF":
            delays.append(_delay_of(int.from_bytes(data[place + 20 : place + 23], "little")))
        place += 8 + size + size % 2
    return delays


def _tidy_rate(count: int, seconds: Fraction) -> Fraction:
    """Give the average rate, or a common one that milliseconds cannot tell from it."""
    for rate in _COMMON_RATES:
        if abs(count / rate - seconds) <= Fraction(1, 1000):
            return rate
    return count / seconds
