"""What a clip's child process and its parent say to each other: a head, and then messages or raw bytes.

The child reads this too, and it is started for every clip. So there is no pydantic here: importing it would
take half as long again as all else that the child needs.
"""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from struct import Struct
from typing import Any, Self

from vistok.media.clips.formats import ClipFormat
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit
from vistok_protocol.errors import ErrorCode, VistokError

LENGTH = Struct("<I")
"""Of the request that a child is sent first: the bytes of its JSON. What follows it is raw, to the end."""
MESSAGE = Struct("<Ic")
"""In front of everything that a child sends: the length of what follows, and its kind."""
HEAD, FRAME, PIECE, END, FAILED = b"h", b"f", b"p", b"e", b"x"
"""The kinds: JSON of ClipHead, raw pixels, encoded bytes, JSON of Ended, and JSON of Failed."""


@dataclass(frozen=True)
class Message:
    """Something that goes through a pipe as JSON; fractions go as text, such as 30000/1001."""

    def to_json(self) -> bytes:
        """Write it."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read it; ValueError, TypeError or LookupError where it is none."""
        return cls(**cls._typed(json.loads(data)))

    @staticmethod
    def _typed(fields: dict[str, Any]) -> dict[str, Any]:
        """Give those fields a type that JSON does not know."""
        return fields


@dataclass(frozen=True)
class ReadRequest(Message):
    """Asks for the frames of a clip, whose bytes follow.

    Attributes:
        selection: what of it.
        fit: how its frames come to a size that the tokenizer can take.
        factor: of which both sides are multiples then.
        limits: what it may cost.
        max_collected: bytes that are kept of a clip that cannot be read before it has come whole.
    """

    selection: Selection
    fit: Fit
    factor: int
    limits: ClipLimits
    max_collected: int

    @staticmethod
    def _typed(fields: dict[str, Any]) -> dict[str, Any]:
        selection, fit = fields["selection"], fields["fit"]
        for name in ("fps", "start", "duration"):
            selection[name] = _fraction(selection[name])
        fit["size"] = fit["size"] and tuple(fit["size"])
        objects = {"selection": Selection(**selection), "fit": Fit(**fit)}
        return fields | objects | {"limits": ClipLimits(**fields["limits"])}


@dataclass(frozen=True)
class WriteRequest(Message):
    """Asks for a clip of the frames that follow: uint8 `(height width 3)`, one after another.

    Attributes:
        clip_format: mp4, webm, gif or webp.
        height: of every frame.
        width: of every frame.
        fps: frames a second.
    """

    clip_format: ClipFormat
    height: int
    width: int
    fps: Fraction

    @staticmethod
    def _typed(fields: dict[str, Any]) -> dict[str, Any]:
        return fields | {"fps": Fraction(fields["fps"])}


@dataclass(frozen=True)
class ClipHead(Message):
    """What is known of a clip with its first frame.

    Attributes:
        height: of what is shown of each frame, from the top left corner.
        width: of what is shown of each frame.
        rows: of the frames, a multiple of the factor.
        columns: of the frames, a multiple of the factor.
        fps: the rate of the frames that are given.
        seconds: how long all of the clip is, if its header can be trusted to know.
    """

    height: int
    width: int
    rows: int
    columns: int
    fps: Fraction
    seconds: Fraction | None

    @staticmethod
    def _typed(fields: dict[str, Any]) -> dict[str, Any]:
        return fields | {"fps": Fraction(fields["fps"]), "seconds": _fraction(fields["seconds"])}


@dataclass(frozen=True)
class Ended(Message):
    """All is done: the number of frames, and sentences on what is damaged."""

    frames: int
    warnings: list[str]


@dataclass(frozen=True)
class Failed(Message):
    """Nothing more comes: an error's code and its sentence."""

    code: ErrorCode
    detail: str

    @staticmethod
    def _typed(fields: dict[str, Any]) -> dict[str, Any]:
        codes = {code.value: code for code in ErrorCode}
        return fields | {"code": codes[fields["code"]]}

    @property
    def error(self) -> VistokError:
        """The error."""
        return VistokError(self.code, self.detail)


OBJECTS: dict[bytes, type[Message]] = {HEAD: ClipHead, END: Ended, FAILED: Failed}
"""What each kind is that is JSON."""


def _fraction(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)
