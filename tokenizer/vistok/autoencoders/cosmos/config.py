"""What Cosmos tokenizers (NVIDIA, arXiv:2501.03575) differ in; the published ones are rows of this table."""

from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from vistok.autoencoders.vqgan.config import Channels

_LEVELS = Field(min_length=1, max_length=8)
Flags = Annotated[tuple[bool, ...], _LEVELS]


class SideConfig(BaseModel):
    """The encoder or the decoder; levels count from the pixels down.

    Attributes:
        widths: channels of each level.
        blocks: residual blocks of each level.
        attention: whether each residual block of a level is followed by attention.
        resized: whether a level ends, on the way down, with half the height and width; on the way up, with
            twice of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Annotated[tuple[Channels, ...], _LEVELS]
    blocks: Annotated[tuple[PositiveInt, ...], _LEVELS]
    attention: Flags
    resized: Flags

    @model_validator(mode="after")
    def _as_many_of_each(self) -> Self:
        if not len(self.widths) == len(self.blocks) == len(self.attention) == len(self.resized):
            raise ValueError("expected as many widths as blocks, attention and resized: one for each level")
        return self


class VideoSideConfig(SideConfig):
    """The encoder or the decoder of clips.

    Attributes:
        retimed: whether a level ends with half the frames, or with twice as many.
    """

    retimed: Flags

    @model_validator(mode="after")
    def _as_many_retimed(self) -> Self:
        if len(self.retimed) != len(self.widths):
            raise ValueError("expected as many widths as retimed: one for each level")
        return self


_Side = TypeVar("_Side", bound=SideConfig)


class _Networks(BaseModel, Generic[_Side]):
    """Everything but the weights.

    Attributes:
        latent_dim: channels of the codes.
        feature_dim: channels between the networks and the convolutions beside the quantizer.
        stem: channels behind the encoder's first convolution.
        patch: side of the squares of pixels, or of the cubes, that wavelets turn into channels.
        encoder: the network before the quantizer.
        decoder: the network behind it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latent_dim: Channels
    feature_dim: Channels
    stem: Channels
    patch: Literal[1, 2, 4, 8]
    encoder: _Side
    decoder: _Side

    @property
    def factor(self) -> int:
        """Pixels per code, along height and along width."""
        return self.patch * 2 ** sum(self.encoder.resized)

    @model_validator(mode="after")
    def _sizes_match(self) -> Self:
        if sum(self.encoder.resized) != sum(self.decoder.resized):
            raise ValueError("expected the decoder to double the size as often as the encoder halves it")
        return self


class CosmosConfig(_Networks[SideConfig]):
    """A tokenizer for pictures."""

    type: Literal["cosmos"]


class CosmosVideoConfig(_Networks[VideoSideConfig]):
    """A tokenizer for clips."""

    type: Literal["cosmos_video"]

    @property
    def temporal_factor(self) -> int:
        """Frames per latent frame, after the first of a clip."""
        return self.patch * 2 ** sum(self.encoder.retimed)

    @model_validator(mode="after")
    def _times_match(self) -> Self:
        if sum(self.encoder.retimed) != sum(self.decoder.retimed):
            raise ValueError("expected the decoder to double the frames as often as the encoder halves them")
        return self
