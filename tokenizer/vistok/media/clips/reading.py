"""Clips of any kind to RGB frames at a constant rate, as a viewer would show them, a frame at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from PIL import Image

from vistok.media.clips.array_clip import ArrayClip, is_array
from vistok.media.clips.constant_rate import Picture, Timed, at_constant_rate
from vistok.media.clips.container import DAMAGED, opened_container
from vistok.media.clips.decoding import VideoDecoder
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.picture_clip import PictureClip, is_motion_jpeg, is_picture, opened_picture
from vistok.media.clips.selection import Selection
from vistok.media.clips.shown_frame import Showing
from vistok.media.clips.source import ClipSource, opened_source
from vistok_protocol.errors import ErrorCode, VistokError

# Where ClipWriter notes the size of an odd picture in an MP4: height x width.
SHOWN_SIZE_KEY = "vistok_shown_size"
# Below this, decoding from the beginning is as quick as looking for a key frame.
_WORTH_A_SEEK = Fraction(1)


@dataclass
class Clip:
    """A clip being read.

    Attributes:
        height: of every frame, as shown.
        width: of every frame, as shown.
        fps: the rate of the frames that are given.
        seconds: how long all of it is, if its header can be trusted to know.
        frames: uint8 `(height width 3)` RGB, upright, decoded as they are asked for. Where a frame is
            repeated it is the same array again, so write into none of them. Reading them raises
            VistokError: TOO_LARGE as soon as a limit is passed.
        warnings: sentences on what is damaged, filled while frames are read.
    """

    height: int
    width: int
    fps: Fraction
    seconds: Fraction | None
    frames: Iterator[np.ndarray]
    warnings: list[str] = field(default_factory=list)


@contextmanager
def open_clip(source: bytes | Path | BinaryIO, selection: Selection, limits: ClipLimits) -> Iterator[Clip]:
    """Open a clip: MP4, WebM, MKV, AVI, GIF, WebP and more, with H.264, H.265, VP9, AV1, MJPEG and more.

    The first frame is decoded here, the others when they are asked for; a few frames are read ahead, and
    never is the whole clip in memory. Frames that are damaged are shown as far as they could be read, and
    what is missing is covered by the frame before. Pictures (PNG, JPEG, WebP) are clips of one frame.
    Animated WebP and PNG have to arrive as a whole before they can be decoded. An array of uint8 `(t h w 3)`
    is a clip of `USUAL_RATE`, and `(h w 3)` a picture.

    Args:
        source: the clip, a file, or anything with `read(n)`, such as a socket's stream that is still
            arriving. It is not closed. With `seek` and `tell`, a late start is found without decoding.
        selection: what of the clip is read, how often, and how large.
        limits: what the clip may cost; what the selection leaves out does not count.

    Raises:
        VistokError: EMPTY_BODY; UNREADABLE_MEDIA when there is not one frame that can be read; TOO_LARGE
            when the header tells it; INVALID_REQUEST when the start lies behind the end; INVALID_ARRAY and
            INVALID_SHAPE for arrays that are no clip.
    """
    part = selection.duration is not None or selection.max_frames is not None
    warnings: list[str] = []
    with opened_source(source, limits, part) as opened:
        if is_array(opened):
            array = ArrayClip(opened, limits, warnings)
            yield _begun(_picture_clip(array, selection, limits, warnings))
        elif is_picture(opened):
            with opened_picture(opened, limits, warnings) as picture:
                yield _begun(_picture_clip(picture, selection, limits, warnings))
        else:
            with _opened_video(opened, selection, limits, warnings) as clip:
                yield _begun(clip)


def _begun(clip: Clip) -> Clip:
    """Read the first frame, so that what is wrong with the clip is said before anything is made of it."""
    first = next(clip.frames, None)
    if first is None:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, "expected start to lie within the clip, which ends before it"
        )
    return replace(clip, frames=chain([first], clip.frames))


@contextmanager
def _opened_video(
    source: ClipSource, selection: Selection, limits: ClipLimits, warnings: list[str]
) -> Iterator[Clip]:
    demuxer = "mjpeg" if is_motion_jpeg(source) else None
    with opened_container(source, limits, demuxer) as opened:
        decoder = VideoDecoder(opened, limits, warnings)
        _check_header(decoder.seconds, selection.fps or decoder.rate, selection, limits)
        frames = decoder.frames()
        first = _first_of(frames)
        # Of a very short clip, the rate is known only now.
        fps = selection.fps or decoder.rate
        true_size = _true_size(opened.container.metadata, first.picture)
        showing = Showing(first.picture, opened.stream.sample_aspect_ratio, true_size, selection.max_side)
        limits.check_size(showing.height, showing.width)
        timed = _from_start(decoder, chain([first], frames), selection.start)
        pictures = _selected(timed, decoder.rate, fps, selection, limits)
        shown = _shown(pictures, showing, warnings)
        yield Clip(showing.height, showing.width, fps, decoder.seconds, shown, warnings)


def _picture_clip(
    picture: PictureClip | ArrayClip, selection: Selection, limits: ClipLimits, warnings: list[str]
) -> Clip:
    fps = selection.fps or picture.rate
    _check_header(picture.seconds, fps, selection, limits)
    frames = _selected(picture.frames(), picture.rate, fps, selection, limits)
    height, width = picture.height, picture.width
    scale = min(Fraction(1), Fraction(selection.max_side or max(height, width), max(height, width)))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    shown = (_resized(frame, height, width) for frame in frames)
    return Clip(height, width, fps, picture.seconds, shown, warnings)


def _check_header(seconds: Fraction | None, fps: Fraction, selection: Selection, limits: ClipLimits) -> None:
    count = None if seconds is None else selection.frame_count(fps, seconds)
    if count is not None:
        limits.check_length(count, fps)


def _first_of(frames: Iterator[Timed[av.VideoFrame]]) -> Timed[av.VideoFrame]:
    first = next(frames, None)
    if first is None:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA, "the clip is damaged or cut short: none of its frames can be decoded"
        )
    return first


def _true_size(metadata: dict[str, str], frame: av.VideoFrame) -> tuple[int, int] | None:
    """Read the size that ClipWriter notes where H.264 made it even; what does not fit is not its note."""
    noted = re.fullmatch(r"(\d{1,5})x(\d{1,5})", metadata.get(SHOWN_SIZE_KEY, ""))
    if noted is None:
        return None
    height, width = int(noted[1]), int(noted[2])
    fits = 0 <= frame.height - height <= 1 and 0 <= frame.width - width <= 1
    return (height, width) if fits and height and width else None


def _from_start(
    decoder: VideoDecoder, frames: Iterator[Timed[av.VideoFrame]], start: Fraction
) -> Iterator[Timed[av.VideoFrame]]:
    """Give the frames from the one that is shown at `start`, and perhaps some before it."""
    if start < _WORTH_A_SEEK or not decoder.seek(start):
        yield from frames
        return
    found = decoder.frames()
    # What precedes the key frame refers to frames that the seek has passed over.
    first = next((frame for frame in found if frame.picture.key_frame), None)
    if first is not None and first.time <= start:
        yield from chain([first], found)
    else:
        decoder.rewind()
        yield from decoder.frames()


def _selected(
    frames: Iterator[Timed[Picture]],
    own_rate: Fraction,
    fps: Fraction,
    selection: Selection,
    limits: ClipLimits,
) -> Iterator[Picture]:
    count = selection.frame_count(fps)
    pictures = at_constant_rate(frames, own_rate, fps, selection.start, count)
    for given, picture in enumerate(pictures, 1):
        limits.check_length(given, fps, more=True)
        yield picture


def _shown(frames: Iterator[av.VideoFrame], showing: Showing, warnings: list[str]) -> Iterator[np.ndarray]:
    """Convert the frames that are given, each once, also when it is repeated."""
    last: av.VideoFrame | None = None
    pixels = np.empty(0, np.uint8)
    resized = False
    for frame in frames:
        if frame is not last:
            if not resized and not showing.has_its_size(frame):
                resized = True
                warnings.append("the frames change their size; they are scaled to that of the first")
            try:
                pixels = showing.to_rgb(frame)
            except DAMAGED as error:
                if last is None:
                    raise VistokError(
                        ErrorCode.UNREADABLE_MEDIA, f"the clip's colours cannot be read: {error}"
                    ) from None
                warnings.append("the colours of a frame cannot be read; the one before it stands in for it")
            last = frame
        yield pixels


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
