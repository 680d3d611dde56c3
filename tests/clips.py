"""Clips made on the spot, and the ways in which they arrive."""

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FAST = {
    "libx264": {"preset": "ultrafast", "crf": "5"},
    "libx265": {"preset": "ultrafast", "crf": "5", "x265-params": "log-level=none:pools=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "5", "b": "0"},
    "libsvtav1": {"preset": "12", "crf": "5", "svtav1-params": "lp=1"},
}
COLOURS = [(255, 255, 255), (0, 0, 0), (200, 60, 30), (12, 140, 220), (30, 180, 60), (128, 128, 128)]


def flat(colour: tuple[int, int, int], height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def numbered(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Grey frames, each of its own level: `number_of` tells which one it is."""
    return [flat((4 * i + 20,) * 3, height, width) for i in range(count)]


def number_of(frame: np.ndarray) -> int:
    return round((float(frame.mean()) - 20) / 4)


def clip(
    frames: Sequence[np.ndarray],
    container: str = "mp4",
    codec: str = "libx264",
    rate: Fraction | int = 10,
    *,
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    matrix: int = 1,
    full_range: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int | None = None,
    pixel_width: Fraction | None = None,
    transfer: int = 1,
) -> bytes:
    """Encode frames; `times` are in frames of `rate`, `matrix` and `transfer` as in ISO/IEC 23091-4."""
    with tempfile.TemporaryDirectory() as folder:
        # A file with a name: to bring the header to the front, FFmpeg opens it a second time.
        path = Path(folder, "clip")
        _write(path, frames, container, codec, Fraction(rate), pixels, times, matrix, full_range,
               options or {}, container_options or {}, rotation, pixel_width, transfer)  # fmt: skip
        return path.read_bytes()


def _write(
    path: Path, frames: Sequence[np.ndarray], container: str, codec: str, rate: Fraction, pixels: str,
    times: Sequence[int] | None, matrix: int, full_range: bool, options: dict[str, str],
    container_options: dict[str, str], rotation: int | None, pixel_width: Fraction | None, transfer: int,
) -> None:  # fmt: skip
    with av.open(path, "w", format=container, container_options=container_options) as out:
        height, width = frames[0].shape[:2]
        settings = FAST.get(codec, {}) | options
        stream = out.add_stream(codec, rate=rate, width=width, height=height, options=settings)
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = 1 / rate
        context.thread_count = 1
        context.colorspace, context.color_range = matrix, 2 if full_range else 1
        context.color_primaries, context.color_trc = (9 if matrix == 9 else 1), transfer
        if pixel_width is not None:
            context.sample_aspect_ratio = pixel_width
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, pixels_of in enumerate(frames):
            frame = _converted(pixels_of, pixels, matrix, full_range)
            frame.pts, frame.time_base = (times or range(len(frames)))[index], context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _converted(frame: np.ndarray, pixels: str, matrix: int, full_range: bool) -> av.VideoFrame:
    names = {1: "ITU709", 6: "ITU601", 9: "BT2020"}
    source = av.VideoFrame.from_ndarray(frame)
    if pixels in ("rgb8", "bgra", "rgb24"):
        return source.reformat(format=pixels)
    return source.reformat(
        format=pixels,
        dst_colorspace=names.get(matrix, "ITU601"),
        src_color_range="JPEG",
        dst_color_range="JPEG" if full_range else "MPEG",
        interpolation=int(av.video.reformatter.Interpolation.BICUBIC)
        | int(av.video.reformatter.Interpolation.ACCURATE_RND),
    )


class Arriving:
    """A body that can only be read, a little at a time, and knows how far it was read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def read(self, count: int) -> bytes:
        part = self.data[self.place : self.place + min(count, 1000)]
        self.place += len(part)
        return part
