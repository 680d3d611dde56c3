"""The frames of an encoded clip, one after another, each with its time."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.stream import VideoStream

from vistok.media.clips.constant_rate import Timed
from vistok.media.clips.container import DAMAGED, Opened
from vistok.media.clips.limits import ClipLimits
from vistok_protocol.errors import ErrorCode, VistokError

# Only here are a clip's times in an index, by which a seek finds its frame.
_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_USUAL_RATE = Fraction(25)
_TIDY_RATES = tuple(map(Fraction, (10, 12, 15, 20, 24, 25, 30, 50)))
_HIGHEST_RATE = 1000
_HALF_A_SECOND = Fraction(1, 2)
# A broken container can fail for ever without moving on.
_MOST_FAILURES = 200
_MOST_WARNINGS = 20


class VideoDecoder:
    """The frames of an opened clip, in order, each with its time.

    Attributes:
        rate: frames a second, by the header or the first frames.
        seconds: how long the clip is where its header can be trusted to know, otherwise None.
        warnings: a sentence for each thing that is damaged, filled while frames are read.
    """

    def __init__(self, opened: Opened, limits: ClipLimits, warnings: list[str]) -> None:
        self._container, self._stream, self._source = opened.container, opened.stream, opened.source
        self._limits = limits
        self.warnings = warnings
        name = self._container.format.name
        self._indexed = name in _INDEXED
        # AVI has no times, only an order; what FFmpeg makes of it is wrong where frames are reordered.
        self._counts = name == "avi"
        self.rate, self._rate_is_known = _rate_of(self._stream)
        self._base = self._stream.time_base or 1 / self.rate
        self.seconds = self._length() if self._indexed else None
        self._origin: Fraction | None = None
        self._broken = False

    def frames(self) -> Iterator[Timed[av.VideoFrame]]:
        """Decode from here on; the first frame ever given has time 0, and times never go back."""
        last: Timed[av.VideoFrame] | None = None
        shift = Fraction(0)
        for frame in self._decoded():
            self._limits.check_size(frame.height, frame.width)
            self._learn_rate(frame)
            duration = (frame.duration or 0) * self._base or 1 / self.rate
            time = self._time_of(frame)
            follows = last.time + last.duration if last else Fraction(0)
            if time is None:
                time = follows
            elif last and not self._believable(time + shift - last.time):
                # The clock starts anew, as where recordings were joined, or is damaged.
                self._warn(f"the clip's times leap or go back at {_clock(last.time)}; it goes on from there")
                shift, time = follows - time, follows
            else:
                time += shift
            last = Timed(frame, max(time, last.time) if last else time, duration)
            self._tell_of_damage(last)
            yield last

    def seek(self, time: Fraction) -> bool:
        """Go to a key frame at or before `time`, if it can be found without decoding up to there."""
        if not (self._indexed and self._source.seekable() and self._origin is not None):
            return False
        try:
            self._container.seek(int((time + self._origin) / self._base), stream=self._stream)
        except DAMAGED:
            self._source.raise_failure()
            return False
        return True

    def rewind(self) -> None:
        """Go back to the beginning after a seek."""
        try:
            self._container.seek(self._stream.start_time or 0, stream=self._stream)
        except DAMAGED as error:
            self._source.raise_failure()
            raise VistokError(ErrorCode.UNREADABLE_MEDIA, f"the clip's index is damaged: {error}") from None

    def _learn_rate(self, frame: av.VideoFrame) -> None:
        """Where a clip is too short for an average, take the pace of its first frame."""
        if not self._rate_is_known and frame.duration and _plausible(1 / (frame.duration * self._base)):
            self.rate = 1 / (frame.duration * self._base)
        self._rate_is_known = True

    def _believable(self, step: Fraction) -> bool:
        """Say whether a frame can come so long after the one before; an index knows how long one stands."""
        return step >= -_HALF_A_SECOND and (self._indexed or step <= self._limits.max_seconds)

    def _time_of(self, frame: av.VideoFrame) -> Fraction | None:
        stamp = frame.dts if self._counts else frame.pts
        if stamp is None:
            return None
        if self._origin is None:
            self._origin = stamp * self._base
        return stamp * self._base - self._origin

    def _decoded(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                yield from self._stream.decode(packet)
            except DAMAGED:
                self._source.raise_failure()
                self._broken = True
        self._source.raise_failure()

    def _packets(self) -> Iterator["av.Packet[VideoStream]"]:
        for _ in range(_MOST_FAILURES):
            try:
                yield from self._container.demux(self._stream)
                return
            except DAMAGED:
                self._source.raise_failure()
                self._broken = True

    def _tell_of_damage(self, frame: Timed[av.VideoFrame]) -> None:
        if self._broken:
            self._warn(
                f"what comes before {_clock(frame.time)} is damaged; the last good frame stands in for it"
            )
        elif frame.picture.is_corrupt:
            self._warn(
                f"the frame at {_clock(frame.time)} is damaged; it is shown as far as it could be read"
            )
        self._broken = False

    def _warn(self, sentence: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(sentence)
        elif len(self.warnings) == _MOST_WARNINGS:
            self.warnings.append("there is more damage, which is not listed")

    def _length(self) -> Fraction | None:
        stream, duration = self._stream, self._container.duration
        if "mp4" in self._container.format.name:
            # A fragmented file's header knows no frames, and its length grows as it arrives.
            return stream.duration * self._base if stream.frames and stream.duration is not None else None
        return None if duration is None else Fraction(duration, av.time_base)


def _rate_of(stream: VideoStream) -> tuple[Fraction, bool]:
    """Give the average rate, and whether it is known; without times, it is the one that the codec tells."""
    average, told = stream.average_rate, stream.guessed_rate
    timeless = stream.start_time is None
    rate = next((rate for rate in ((told, average) if timeless else (average,)) if _plausible(rate)), None)
    if rate is None:
        return (told if told is not None and _plausible(told) else _USUAL_RATE), False
    if stream.codec_context.name == "gif":
        # Its hundredths of a second make 30.4 of 30.
        rate = next((tidy for tidy in _TIDY_RATES if abs(rate - tidy) < tidy / 50), rate)
    return rate, True


def _plausible(rate: Fraction | None) -> bool:
    return rate is not None and Fraction(1, 1000) <= rate <= _HIGHEST_RATE


def _clock(time: Fraction) -> str:
    return f"{float(time):.2f} s"
