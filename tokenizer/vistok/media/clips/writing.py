"""RGB frames to clips that browsers play, written while the frames come in."""

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from vistok.media.clips.formats import ENCODINGS, ClipFormat, Encoding
from vistok.media.clips.reading import SHOWN_SIZE_KEY
from vistok.media.clips.sink import ClipSink
from vistok_protocol.errors import ErrorCode, VistokError

_EXACTLY = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)
# ISO/IEC 23091-4: BT.709, and levels from 16 to 235.
_BT709, _LIMITED = 1, 1
# Browsers slow down what is shown for less than two hundredths of a second.
_FASTEST_GIF = Fraction(50)
_HIGHEST_RATE = 1000


class ClipWriter:
    """A clip being written, frame by frame; to be used with `with`.

    What the formats are:

    - mp4: H.264 in yuv420p. Its sides are even: an odd picture is padded by repeating its last row or
      column, which players show. The file notes the true size, and `open_clip` gives that back.
    - webm: VP9 in yuv420p, of any size.
    - gif: 256 colours for each frame, and times in hundredths of a second: above 50 frames a second some
      frames are left out.
    - webp: animated WebP, with times in milliseconds. Its encoder gives all bytes at the end, and holds
      the encoded frames until then. Frames that are alike it joins to one that is shown for longer.

    Colours are marked as BT.709 and converted so (WebP and GIF know only sRGB). The frame rate is written
    exactly in mp4, and in webm to a nanosecond for each frame.

    Memory does not grow with the clip, other than in webp. When the `with` block fails, the clip is
    abandoned: nothing more is written, and a file is removed.
    """

    def __init__(
        self, target: BinaryIO | Path, clip_format: ClipFormat, height: int, width: int, fps: Fraction
    ) -> None:
        """Begin a clip.

        Args:
            target: a file's name, or anything with `write`. A target that cannot `seek`, such as a socket,
                gets a fragmented MP4, of which bytes come out while frames go in. It is not closed.
            clip_format: mp4, webm, gif or webp.
            height: of the frames.
            width: of the frames.
            fps: frames a second.

        Raises:
            VistokError: INVALID_REQUEST for sizes and rates that the format cannot have, or a file that
                cannot be written.
        """
        self._encoding = ENCODINGS[clip_format]
        self._size = height, width
        self._fps = Fraction(fps)
        _check(clip_format, self._encoding, height, width, self._fps)
        self._padding = (height % 2, width % 2) if clip_format == "mp4" else (0, 0)
        self._reformatter = VideoReformatter()
        self._count = 0
        self._last_time = -1
        self._sink = ClipSink(target)
        try:
            self._container, self._stream = self._opened(clip_format)
        except BaseException:
            self._sink.abandon()
            raise
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._open:
            self._open = False
            self._sink.abandon()
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()

    def write(self, frame: np.ndarray) -> None:
        """Add a frame: uint8 `(height width 3)` RGB.

        Raises:
            VistokError: INVALID_SHAPE for any other array; what the target raises.
        """
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected a uint8 frame of shape {(*self._size, 3)}, got {frame.dtype} {frame.shape}",
            )
        if not self._open:
            raise VistokError(ErrorCode.INVALID_REQUEST, "expected frames before the clip is closed")
        time = self._time(self._count)
        self._count += 1
        if self._encoding.pixels == "pal8" and self._last_time >= 0 and time - self._last_time < 2:
            return
        self._last_time = time
        picture = self._converted(frame)
        picture.pts, picture.time_base = time, self._stream.codec_context.time_base
        self._mux(picture)

    def close(self) -> None:
        """Write what is left; more than once does nothing.

        Raises:
            VistokError: INVALID_REQUEST when no frame was written; what the target raises.
        """
        if not self._open:
            return
        self._open = False
        if self._count == 0:
            self._sink.abandon()
            raise VistokError(ErrorCode.INVALID_REQUEST, "expected at least one frame, got none")
        try:
            self._mux(None)
            self._container.close()
            self._sink.raise_failure()
        except BaseException:
            self._sink.abandon()
            raise
        self._sink.close()

    def _opened(self, clip_format: ClipFormat) -> tuple[OutputContainer, VideoStream]:
        options = dict(self._encoding.container)
        if not self._sink.seekable():
            options |= self._encoding.streamed
        if clip_format == "gif":
            options["final_delay"] = str(max(2, round(100 / self._fps)))
        container = av.open(self._sink, "w", format=clip_format, container_options=options)
        height, width = (side + more for side, more in zip(self._size, self._padding, strict=True))
        if any(self._padding):
            container.metadata[SHOWN_SIZE_KEY] = "x".join(map(str, self._size))
        stream = container.add_stream(
            self._encoding.codec, rate=self._fps, options=dict(self._encoding.options)
        )
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = height, width
        stream.pix_fmt = self._encoding.pixels
        context = stream.codec_context
        context.time_base = self._encoding.clock or 1 / self._fps
        # How many clips are written side by side is for others to decide.
        context.thread_count = 1
        if self._encoding.pixels == "yuv420p":
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        return container, stream

    def _time(self, index: int) -> int:
        return index if self._encoding.clock is None else round(index / self._fps / self._encoding.clock)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            self._sink.raise_failure()
            raise VistokError(ErrorCode.INTERNAL, f"the clip cannot be encoded: {error}") from None
        self._sink.raise_failure()

    def _converted(self, frame: np.ndarray) -> av.VideoFrame:
        if self._encoding.pixels == "pal8":
            return _with_palette(frame)
        if any(self._padding):
            rows, columns = self._padding
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame)),
            format=self._encoding.pixels,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if self._encoding.pixels == "bgra" else ColorRange.MPEG,
            interpolation=_EXACTLY,
            threads=1,
        )


def _with_palette(frame: np.ndarray) -> av.VideoFrame:
    """Choose the frame's own 256 colours, and mix the others from them by dots."""
    picture = Image.fromarray(frame)
    # Median cut finds slightly better colours, and takes a hundred times as long.
    few = picture.quantize(256, Image.Quantize.FASTOCTREE)
    few = picture.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    colours = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colours), 1:] = colours
    # PyAV takes colours and palette together, which its annotations leave out.
    return av.VideoFrame.from_ndarray((np.asarray(few), palette), format="pal8")  # type: ignore[arg-type]


def _check(clip_format: ClipFormat, encoding: Encoding, height: int, width: int, fps: Fraction) -> None:
    if not (1 <= height <= encoding.largest_side and 1 <= width <= encoding.largest_side):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected sides from 1 to {encoding.largest_side} for {clip_format}, got {height} x {width}",
        )
    if not 0 < fps <= _HIGHEST_RATE:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"expected a rate up to {_HIGHEST_RATE} frames a second, got {fps}"
        )
