"""The query parameters of the calls; one that nobody knows is a typing mistake, and refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vistok.media.clips.selection import Selection
from vistok.media.fitting import Fit

MAX_TOKENS_IN_URL = 64_000  # characters; much of what stands between cannot carry longer URLs


class NoQuery(BaseModel):
    """The query of a call that has no parameters."""

    model_config = ConfigDict(extra="forbid")


class FitQuery(BaseModel):
    """How a picture comes to a size that the tokenizer can take."""

    model_config = ConfigDict(extra="forbid")

    max_side: int | None = Field(None, ge=1, description="pixels that the longer side is shrunk to")
    fit: Literal["pad", "crop", "resize"] = Field("pad", description="what bridges the difference in size")
    size: str | None = Field(
        None,
        description="height and width wanted, such as 256x384",
        json_schema_extra={"pattern": "^[0-9]+[xX][0-9]+$"},
    )

    def to_fit(self) -> Fit:
        """Give it in the library's words; INVALID_REQUEST for a size that is none."""
        return Fit.parse(self.max_side, self.fit, self.size)


class EncodeQuery(FitQuery):
    """What encode can be told."""

    ids: bool = Field(True, description="whether a JSON answer holds the nested list of ids")


class ClipQuery(EncodeQuery):
    """What encode can be told about a clip."""

    fps: str | None = Field(
        None, description="of a clip: frames a second that are taken, such as 12 or 30000/1001"
    )
    start: str | None = Field(None, description="of a clip: seconds that are left out at its beginning")
    duration: str | None = Field(None, description="of a clip: seconds that are taken, at most")
    max_frames: str | None = Field(None, description="of a clip: frames that are taken, at most")

    def to_selection(self) -> Selection:
        """Give what is read of the clip; INVALID_REQUEST names a value that is none."""
        return Selection.parse(self.fps, self.start, self.duration, self.max_frames, self.max_side)


class DecodeQuery(BaseModel):
    """What decode can be told."""

    model_config = ConfigDict(extra="forbid")

    any_fingerprint: bool = Field(False, description="decode ids of another tokenizer, whatever comes out")


class ReconstructionQuery(BaseModel):
    """What reconstruction is asked with."""

    model_config = ConfigDict(extra="forbid")

    tokens: str = Field(max_length=MAX_TOKENS_IN_URL, description="token bytes in base64url")
