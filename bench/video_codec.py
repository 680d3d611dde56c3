"""What a video tokenizer keeps of clips, beside H.264 with as many bits.

    python -m bench.video_codec CLIP [CLIP ...] [--tokenizer video-fsq-t4f8]

The bits of a clip's tokens are those of its ids, packed. H.264 is x264 at its default preset, with the lowest
constant rate factor (in eighths) whose packets take no more; it wants even sides, so an odd last row or
column is left out. PSNR is the mean over the frames, in RGB.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import fmean

import av
import numpy as np
from av.video.frame import VideoFrame

from vistok.clips import decode_clip, encode_clip
from vistok.evaluation.psnr import psnr
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.packing import bits_per_id

_STEPS = 8
_WORST = 51 * _STEPS


@dataclass(frozen=True)
class Kept:
    """What is left of a clip: its bits, and the mean PSNR of its frames in dB."""

    bits: int
    psnr: float


def by_tokens(tokenizer: VisualTokenizer, frames: list[np.ndarray]) -> Kept:
    """Take the clip through tokens."""
    grid = encode_clip(tokenizer, frames)
    back = decode_clip(tokenizer, grid)
    return Kept(grid.ids.size * bits_per_id(grid.vocabulary_size), _psnr(frames, back))


def by_h264(frames: list[np.ndarray], fps: Fraction, most_bits: int) -> Kept | None:
    """Find the best H.264 that takes no more bits; None when there is none."""
    low, high, best = 0, _WORST, None
    while low <= high:
        middle = (low + high) // 2
        packets = _packets(frames, fps, middle / _STEPS)
        bits = 8 * sum(len(packet) for packet in packets)
        if bits > most_bits:
            low = middle + 1
        else:
            high, best = middle - 1, Kept(bits, _psnr(frames, _decoded(packets)))
    return best


def _packets(frames: list[np.ndarray], fps: Fraction, rate_factor: float) -> list[bytes]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", fps, 1 / fps
    encoder.options = {"crf": str(rate_factor)}
    pictures: Iterator[VideoFrame | None] = (
        VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames
    )
    return [bytes(packet) for picture in chain(pictures, [None]) for packet in encoder.encode(picture)]


def _decoded(packets: list[bytes]) -> Iterator[np.ndarray]:
    decoder = av.CodecContext.create("h264", "r")
    for part in [*map(av.Packet, packets), None]:
        for frame in decoder.decode(part):
            yield frame.to_ndarray(format="rgb24")


def _psnr(frames: list[np.ndarray], back: Iterator[np.ndarray]) -> float:
    return fmean(psnr(original, other) for original, other in zip(frames, back, strict=True))


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--tokenizer", action="append", help="a bundled name or a folder; may be repeated")
    arguments = parser.parse_args()
    print("| clip | tokenizer | bits per pixel | PSNR (dB) | H.264: bits per pixel | PSNR (dB) |")
    print("|---|---|---|---|---|---|")
    for path in arguments.clips:
        with open_clip(path, Selection(), ClipLimits()) as clip:
            frames = [frame[: clip.height // 2 * 2, : clip.width // 2 * 2] for frame in clip.frames]
        pixels = len(frames) * frames[0][..., 0].size
        for name in arguments.tokenizer or ["video-fsq-t4f8", "video-lfq-t4f8"]:
            ours = by_tokens(VisualTokenizer.from_pretrained(name), frames)
            theirs = by_h264(frames, clip.fps, ours.bits)
            other = (
                "| none so small |" if theirs is None else f"| {theirs.bits / pixels:.4f} | {theirs.psnr:.2f}"
            )
            print(
                f"| {path.stem} | {name} | {ours.bits / pixels:.4f} | {ours.psnr:.2f} {other} |", flush=True
            )


if __name__ == "__main__":
    main()
