"""Opening an encoded clip with FFmpeg's libraries: its own bytes, one video stream, and no other file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.source import ClipSource
from vistok_protocol.errors import ErrorCode, VistokError

# Containers whose demuxers read their own bytes and nothing else. Playlists and scripts (hls, dash, concat,
# image sequences, sdp) are not among them: they would have FFmpeg open what they name.
_CONTAINERS = (
    "mov", "matroska", "avi", "gif", "mpegts", "mpeg", "flv", "ogg", "asf", "ivf", "obu",
    "h264", "hevc", "vvc", "m4v", "mpegvideo", "mjpeg", "yuv4mpegpipe",
)  # fmt: skip
_CODECS = frozenset(
    [
        "h264", "hevc", "vvc", "vp8", "vp9", "av1", "libdav1d", "mjpeg", "gif", "mpeg1video", "mpeg2video",
        "mpegvideo", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "h263", "flv", "wmv1", "wmv2", "wmv3",
        "vc1", "theora", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "cinepak", "png",
        "qtrle", "dvvideo", "rawvideo",
    ]
)  # fmt: skip
# What decoders raise for damaged clips, besides FFmpeg's own errors: numbers that Python cannot take.
DAMAGED = (av.FFmpegError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_READ_AT_ONCE = 32 * 2**10
_OPTIONS = {
    "format_whitelist": ",".join(_CONTAINERS),
    "codec_whitelist": ",".join(sorted(_CODECS)),
    "protocol_whitelist": "none",
    # How much is looked at before the first frame: enough for a frame rate, little enough for a live stream.
    "fpsprobesize": "8",
    "probesize": str(2 * 2**20),
}
# The same in seconds. Frames of a GIF are often slow, and its header knows no rate.
_LOOKED_AT, _LOOKED_AT_GIF = 1, 5


@dataclass(frozen=True)
class Opened:
    """A clip's header, read."""

    container: InputContainer
    stream: VideoStream
    source: ClipSource


@contextmanager
def opened_container(source: ClipSource, limits: ClipLimits, demuxer: str | None = None) -> Iterator[Opened]:
    """Read the header and find the video: the first stream of pictures that is not a cover.

    Raises:
        VistokError: UNREADABLE_MEDIA, TOO_LARGE (frames by the header), and what reading `source` raises.
    """
    head = source.peek(16)
    looked_at = _LOOKED_AT
    if head.startswith(b"GIF8"):
        limits.check_size(*(int.from_bytes(head[place : place + 2], "little") for place in (8, 6)))
        # FFmpeg guesses another frame rate where it can go back and forth; the way in must not matter.
        source.only_forward()
        looked_at = _LOOKED_AT_GIF
    try:
        container = av.open(
            source,
            "r",
            format=demuxer,
            # Decoders allocate what a header announces: a margin for their padding, and no more.
            options={"max_pixels": str(2 * limits.max_pixels + 2**16)},
            container_options=_OPTIONS | {"analyzeduration": str(int(looked_at * av.time_base))},
            metadata_errors="replace",
            buffer_size=_READ_AT_ONCE,
            io_open=_refuse_to_open,
        )
    except DAMAGED:
        source.raise_failure()
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA,
            f"expected a clip (such as MP4, WebM, MKV, AVI, GIF or WebP), got bytes starting {head!r}",
        ) from None
    with container:
        stream = _video_of(container)
        limits.check_size(stream.codec_context.height, stream.codec_context.width)
        yield Opened(container, stream, source)


def _video_of(container: InputContainer) -> VideoStream:
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA,
            f"expected a clip with a video stream, got {container.format.name} with {kinds}",
        )
    video = videos[0]
    if video.codec_context is None or video.codec_context.name not in _CODECS:
        raise VistokError(
            ErrorCode.UNREADABLE_MEDIA, f"expected video of a known codec, got {_codec_name(video)}"
        )
    for stream in container.streams:
        stream.discard = Discard.default if stream is video else Discard.all
    # One thread gives each frame as soon as its bytes are there; more would each hold one back.
    video.codec_context.thread_count = 1
    return video


def _codec_name(stream: VideoStream) -> str:
    return "one that is unknown" if stream.codec_context is None else str(stream.codec_context.name)


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise OSError(f"a clip asks for another file: {url!r}")
