"""Files of pictures and clips to token grids and back: what the command line does."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from vistok.clips import decode_clip, encode_clip
from vistok.grids import decode_grid, encode_picture
from vistok.media.clips.array_clip import write_array_clip
from vistok.media.clips.formats import USUAL_RATE, clip_format_of
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok.media.clips.writing import ClipWriter
from vistok.media.fitting import Fit
from vistok.media.image import format_of, read_image, write_image
from vistok.media.limits import Limits
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.tokens import TokenGrid

Progress = Callable[[Iterable[np.ndarray], float | None], Iterable[np.ndarray]]
"""Hands frames on and shows how far they are, of so many if that is known."""

# A film of one's own may be long: it is read a few frames at a time.
_OWN_CLIPS = ClipLimits(max_bytes=2**50, max_frames=10**9, max_seconds=10**7)


def encode_file(
    tokenizer: VisualTokenizer, path: Path, fit: Fit, selection: Selection, progress: Progress
) -> tuple[TokenGrid, list[str]]:
    """Give the grid of a picture's file, or of a clip's to a video tokenizer, and what was wrong with it."""
    if tokenizer.kind == "image":
        return encode_picture(tokenizer, read_image(path.read_bytes(), Limits()), fit), []
    with open_clip(path, selection, _OWN_CLIPS) as clip:
        expected = selection.frame_count(clip.fps, clip.seconds)
        return encode_clip(tokenizer, progress(clip.frames, expected), clip.fps, fit), clip.warnings


def decode_file(
    tokenizer: VisualTokenizer, grid: TokenGrid, path: Path, any_fingerprint: bool, progress: Progress
) -> None:
    """Write what a grid shows: a picture, or a clip in the format that the file's name asks for."""
    if tokenizer.kind == "image":
        image_format = format_of(path)
        path.write_bytes(write_image(decode_grid(tokenizer, grid, any_fingerprint), image_format))
        return
    clip_format, size = clip_format_of(path), grid.pixels
    frames = progress(decode_clip(tokenizer, grid, any_fingerprint), size.frames)
    if clip_format == "npy":
        write_array_clip(path, frames, size)
        return
    with ClipWriter(path, clip_format, size.height, size.width, size.rate or USUAL_RATE) as writer:
        for frame in frames:
            writer.write(frame)
