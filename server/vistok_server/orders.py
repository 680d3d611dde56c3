"""What a worker is asked, and what it answers; the arrays among it lie in shared memory while it travels."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from vistok.media.fitting import Fit
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import PixelSize
from vistok_server.shared_memory import Shared

Operation = Literal["encode", "reconstruct", "decode", "encode_piece", "decode_piece", "quantize", "lookup"]


@dataclass(frozen=True, eq=False)
class OfPicture:
    """What an order about a picture says of it."""

    body: Shared
    """`(n)` uint8, as it was sent."""
    media_type: str
    fit: Fit


@dataclass(frozen=True, eq=False)
class Encode(OfPicture):
    """A picture to its ids; answered with `Encoded`."""

    operation: Literal["encode"] = "encode"


@dataclass(frozen=True, eq=False)
class Reconstruct(OfPicture):
    """A picture through one round trip; answered with `Reconstructed`."""

    answer_type: str
    operation: Literal["reconstruct"] = "reconstruct"


@dataclass(frozen=True, eq=False)
class Decode:
    """Ids that were checked, to their picture; answered with `Written`."""

    ids: Shared
    """`(h w [k])` int64."""
    size: PixelSize
    answer_type: str
    operation: Literal["decode"] = "decode"


@dataclass(frozen=True, eq=False)
class OfPiece:
    """What an order about a piece of a clip says of what went before."""

    past: list[Shared]
    """What the order for the piece before gave as its `past`; empty for the first piece."""


@dataclass(frozen=True, eq=False)
class EncodePiece(OfPiece):
    """Frames to their ids; answered with `EncodedPiece`."""

    frames: Shared
    """`(t H W 3)` uint8, fitted; whole groups of frames, but for the last piece."""
    is_last: bool
    operation: Literal["encode_piece"] = "encode_piece"


@dataclass(frozen=True, eq=False)
class DecodePiece(OfPiece):
    """Ids that were checked, to their frames; answered with `DecodedPiece`."""

    ids: Shared
    """`(t h w [k])` int64."""
    operation: Literal["decode_piece"] = "decode_piece"


@dataclass(frozen=True, eq=False)
class OfArray:
    """What an order to the quantizer alone works on; answered with `Computed`."""

    inputs: Shared


@dataclass(frozen=True, eq=False)
class Quantize(OfArray):
    """Feature maps `(b d h w)` float32, finite, to ids `(b h w [k])` int64."""

    operation: Literal["quantize"] = "quantize"


@dataclass(frozen=True, eq=False)
class Lookup(OfArray):
    """Ids `(b h w [k])` int64 that were checked, to codes `(b d h w)` float32."""

    operation: Literal["lookup"] = "lookup"


@dataclass(frozen=True, eq=False)
class Encoded:
    """Ids, and the size of the picture as the model saw it, without padding."""

    ids: Shared
    """`(h w [k])` int64."""
    size: PixelSize
    kind: Literal["encoded"] = "encoded"


@dataclass(frozen=True, eq=False)
class Written:
    """A picture in the media type that was asked for."""

    content: Shared
    """`(n)` uint8."""
    kind: Literal["written"] = "written"


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """A picture after a round trip, and what was lost on it."""

    content: Shared
    """`(n)` uint8."""
    psnr: str
    """Decibels against the picture as the model saw it, as they stand in the answer's header."""
    bits_per_pixel: float
    kind: Literal["reconstructed"] = "reconstructed"


@dataclass(frozen=True, eq=False)
class EncodedPiece:
    """The ids of a piece of a clip, and what the next piece needs to know."""

    ids: Shared
    """`(t h w [k])` int64."""
    past: list[Shared]
    kind: Literal["encoded_piece"] = "encoded_piece"


@dataclass(frozen=True, eq=False)
class DecodedPiece:
    """The frames of a piece of a clip, and what the next piece needs to know."""

    frames: Shared
    """`(t H W 3)` uint8, with their padding, and with frames that were repeated at the end."""
    past: list[Shared]
    kind: Literal["decoded_piece"] = "decoded_piece"


@dataclass(frozen=True, eq=False)
class Computed:
    """What the quantizer alone gave."""

    values: Shared
    kind: Literal["computed"] = "computed"


@dataclass(frozen=True)
class Failed:
    """The order's own error: whatever it was, the others of its batch are not touched by it."""

    code: ErrorCode
    detail: str
    kind: Literal["failed"] = "failed"

    @classmethod
    def of(cls, error: VistokError) -> "Failed":
        """Keep an error."""
        return cls(error.code, error.detail)

    @property
    def error(self) -> VistokError:
        """The error."""
        return VistokError(self.code, self.detail)


Order = Annotated[
    Encode | Reconstruct | Decode | EncodePiece | DecodePiece | Quantize | Lookup,
    Field(discriminator="operation"),
]
Result = Encoded | Written | Reconstructed | EncodedPiece | DecodedPiece | Computed
Outcome = Annotated[Result | Failed, Field(discriminator="kind")]
