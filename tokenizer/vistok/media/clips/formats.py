"""The formats that clips are written in: their names, and how FFmpeg's libraries are asked for them."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vistok.media.endings import by_ending

ClipFormat = Literal["mp4", "webm", "gif", "webp"]
OutputFormat = ClipFormat | Literal["npy"]
"""Encoded, or the frames as they are."""

USUAL_RATE = Fraction(25)
"""Frames a second of a clip that nobody knows the rate of."""

_FORMATS: dict[str, OutputFormat] = {
    ".mp4": "mp4",
    ".webm": "webm",
    ".gif": "gif",
    ".webp": "webp",
    ".npy": "npy",
}


@dataclass(frozen=True)
class Encoding:
    """How one format is written.

    Attributes:
        codec: the encoder.
        pixels: the pixel format that it takes.
        largest_side: the longest side that the format or its encoder can have, in pixels.
        options: of the encoder: fast, and so fine that the eye sees no difference.
        container: of the container.
        streamed: of the container where the target cannot go back: small pieces, each as soon as it is full.
        clock: the unit in which times are written, in seconds; None for exactly the frame rate's.
    """

    codec: str
    pixels: str
    largest_side: int
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    streamed: dict[str, str] = field(default_factory=dict)
    clock: Fraction | None = None


ENCODINGS: dict[ClipFormat, Encoding] = {
    # Without frames that wait for later ones, so that each comes out as it goes in.
    "mp4": Encoding(
        codec="libx264",
        pixels="yuv420p",
        largest_side=16_384,
        options={"preset": "superfast", "tune": "zerolatency", "crf": "18", "g": "60"},
        container={"movflags": "use_metadata_tags"},
        streamed={
            "movflags": "use_metadata_tags+frag_keyframe+empty_moov+default_base_moof",
            "frag_duration": "200000",
        },
    ),
    "webm": Encoding(
        codec="libvpx-vp9",
        pixels="yuv420p",
        largest_side=16_384,
        options={
            "deadline": "realtime",
            "cpu-used": "8",
            "crf": "18",
            "b": "0",
            "lag-in-frames": "0",
            "g": "60",
        },
        streamed={"cluster_time_limit": "200"},
    ),
    "gif": Encoding(
        codec="gif",
        pixels="pal8",
        largest_side=65_535,
        # The size of each frame is that of what changes in it.
        options={"gifflags": "offsetting"},
        clock=Fraction(1, 100),
    ),
    "webp": Encoding(
        codec="libwebp_anim",
        pixels="bgra",
        largest_side=16_383,
        options={"quality": "92", "compression_level": "1"},
        container={"loop": "0"},
        clock=Fraction(1, 1000),
    ),
}


def clip_format_of(path: Path) -> OutputFormat:
    """Give the format that a file's name asks for."""
    return by_ending(path, _FORMATS)
