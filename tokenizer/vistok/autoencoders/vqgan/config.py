"""What VQGANs differ in; the published ones are rows of this table."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Channels = Annotated[int, Field(ge=1, le=8192)]
Range = tuple[float, float]
"""What black and white are."""

SIGNED: Range = (-1.0, 1.0)
_LEVELS = Field(min_length=1, max_length=8)


class SideConfig(BaseModel):
    """The encoder or the decoder; levels count from the full resolution down, each half of the one before.

    Attributes:
        widths: channels of each level.
        blocks: residual blocks of each level.
        attention: whether each residual block of a level is followed by attention.
        middle: residual blocks (r) and attention (a) at the lowest resolution, such as "rar".
        bias: whether the convolutions of residual blocks have one.
        edge_bias: whether the first convolution has one.
        out_kernel: side of the last convolution.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Annotated[tuple[Channels, ...], _LEVELS]
    blocks: Annotated[tuple[PositiveInt, ...], _LEVELS]
    attention: Annotated[tuple[bool, ...], _LEVELS]
    middle: str = Field(default="rar", pattern="^[ra]*$", max_length=64)
    bias: bool = True
    edge_bias: bool = True
    out_kernel: Literal[1, 3] = 3

    @model_validator(mode="after")
    def _as_many_of_each(self) -> Self:
        if not len(self.widths) == len(self.blocks) == len(self.attention):
            raise ValueError("expected as many widths as blocks and attention: one for each level")
        return self


class VqganConfig(BaseModel):
    """Everything but the weights.

    Attributes:
        latent_dim: channels of the codes.
        feature_dim: channels between the networks and the convolutions beside the quantizer.
        stem: channels behind the encoder's first convolution.
        encoder: the network before the quantizer.
        decoder: the network behind it.
        quantizer_kernel: side of the convolutions on both sides of the quantizer, if there are any.
        shortcut: what a residual block adds to its result where its channels change: its input, or once more
            its result, each after a convolution of one pixel. The second is a quirk of MaskGIT's, which its
            weights have learned to live with.
        downsampling: a convolution of stride 2 padded below and to the right, or on all sides; or averages.
        upsampling: the nearest pixel before a convolution, or a convolution to four times the channels, whose
            quarters become neighbours.
        adaptive: whether the decoder's levels begin with a normalization whose scale and shift depend on the
            statistics of all codes of the picture.
        modulated: whether the decoder's normalizations are scaled and shifted by the code at each place, as
            in MoVQ (Zheng et al., arXiv:2209.09002).
        pixels_in: what the encoder takes for black and white.
        pixels_out: what the decoder gives for black and white.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["vqgan"]
    latent_dim: Channels
    feature_dim: Channels
    stem: Channels
    encoder: SideConfig
    decoder: SideConfig
    quantizer_kernel: Literal[1, 3] | None = 1
    shortcut: Literal["input", "result"] = "input"
    downsampling: Literal["padded_after", "padded_around", "average"] = "padded_after"
    upsampling: Literal["nearest", "depth_to_space"] = "nearest"
    adaptive: bool = False
    modulated: bool = False
    pixels_in: Range = SIGNED
    pixels_out: Range = SIGNED

    @model_validator(mode="after")
    def _levels_match(self) -> Self:
        if len(self.encoder.widths) != len(self.decoder.widths):
            raise ValueError("expected as many levels of the decoder as of the encoder")
        if self.quantizer_kernel is None and self.feature_dim != self.latent_dim:
            raise ValueError("expected feature_dim = latent_dim without convolutions beside the quantizer")
        return self
