"""Building requests about clips: one plain function for each call, for both clients."""

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Never, TypedDict

from vistok_client import _answers
from vistok_client._call import Call
from vistok_client._calls import Fit, Preparation, path_of
from vistok_client._inputs import Grid, WholeGrid, grid_body, read_grid
from vistok_client._uploads import Clip, clip_upload, stream_upload
from vistok_client.errors import InvalidInput
from vistok_protocol import media_types
from vistok_protocol.tokens import TokenGrid

FORMATS = {
    ".mp4": media_types.MP4,
    ".webm": media_types.WEBM,
    ".gif": media_types.GIF,
    ".webp": media_types.WEBP,
    ".npy": media_types.NPY,
}


class ClipOptions(TypedDict, total=False):
    """What methods for clips can be told: see `Client.encode_video`."""

    fps: float | Fraction | None
    start: float | Fraction | None
    duration: float | Fraction | None
    max_frames: int | None
    max_side: int | None
    fit: Fit | None
    size: tuple[int, int] | None


@dataclass(frozen=True)
class ClipPreparation(Preparation):
    """What happens to a clip before it is encoded: see `Client.encode_video`. Raises InvalidInput."""

    fps: float | Fraction | None = None
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    max_frames: int | None = None

    def params(self) -> dict[str, str]:
        """Return the query parameters, without those that were not given."""
        numbers = {"fps": self.fps, "start": self.start, "duration": self.duration}
        given = {name: _number(name, value) for name, value in numbers.items() if value is not None}
        frames = {} if self.max_frames is None else {"max_frames": str(self.max_frames)}
        return super().params() | given | frames


def encode_video(name: str, clip: Clip, preparation: ClipPreparation) -> Call[tuple[TokenGrid, list[str]]]:
    """Encode a clip to one grid; beside it comes what is said of damage."""
    return Call(
        "POST",
        path_of(name, "encode"),
        _answers.read_clip,
        params=preparation.params(),
        accept=media_types.TOKENS,
        body=clip_upload(clip),
        is_lasting=True,
    )


def stream_video(
    name: str, clip: Clip | Iterable[bytes] | AsyncIterable[bytes], preparation: ClipPreparation
) -> Call[Never]:
    """Encode a clip to many grids, in lines: what answers otherwise is no answer."""
    return Call(
        "POST",
        path_of(name, "encode"),
        _answers.read_unstreamed,
        params={**preparation.params(), "ids": "false"},
        accept=media_types.NDJSON,
        body=stream_upload(clip),
        is_lasting=True,
    )


def decode_video(name: str, grid: Grid, path: str | PathLike[str], any_fingerprint: bool) -> Call[None]:
    """Decode a grid to a file."""
    if isinstance(grid, WholeGrid) and read_grid(grid).kind == "image":
        raise InvalidInput("expected the grid of a clip, got a picture's: decode gives the picture")
    file = Path(path)
    media_type = FORMATS.get(file.suffix.lower())
    if media_type is None:
        raise InvalidInput(f"expected a file that ends in one of {', '.join(FORMATS)}, got {file.name!r}")
    return Call(
        "POST",
        path_of(name, "decode"),
        partial(_answers.read_saved, media_type=media_type),
        params={"any_fingerprint": "true"} if any_fingerprint else {},
        accept=media_type,
        body=grid_body(grid),
        file=file,
        is_lasting=True,
    )


def _number(name: str, value: float | Fraction) -> str:
    """Write a number as the service reads it: such as 25, 0.5 and 30000/1001."""
    if isinstance(value, Fraction):
        return str(value)
    if not isinstance(value, Real):
        raise InvalidInput(f"expected {name} as a number, got {value!r}")
    return f"{float(value):.12f}".rstrip("0").rstrip(".")
