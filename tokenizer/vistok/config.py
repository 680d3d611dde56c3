"""What a tokenizer is made of, as it stands in `config.json`; an unknown key is an error."""

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vistok.autoencoders.catalogue import AutoencoderConfig, kind_of
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import Kind

Model = TypeVar("Model", bound=BaseModel)


class QuantizerConfig(BaseModel):
    """A quantizer's class in `vistok.quantizers` and its keyword arguments, as JSON can say them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Origin(BaseModel):
    """Where weights come from that were published in another format.

    Attributes:
        family: whose format it was, as in `docs/models.md`.
        files: the names of the files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    files: tuple[str, ...]


class TokenizerConfig(BaseModel):
    """Everything but the weights.

    Attributes:
        origin: where the weights come from, if they were converted.
        quality: measured figures by name, such as `psnr`; None where nobody measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["vistok-tokenizer-1"] = "vistok-tokenizer-1"
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    kind: Kind = "image"
    autoencoder: AutoencoderConfig
    quantizer: QuantizerConfig
    licence: str = "unspecified"
    origin: Origin | None = None
    quality: dict[str, float] | None = None

    @model_validator(mode="after")
    def _kind_is_the_autoencoders(self) -> Self:
        kind = kind_of(self.autoencoder)
        if self.kind != kind:
            raise ValueError(f"expected kind {kind!r} with the autoencoder {self.autoencoder.type!r}")
        return self


def parse(model: type[Model], values: object, source: str) -> Model:
    """Validate values read from `source`, naming each wrong key in one sentence."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, f['loc'])) or 'top level'}: {f['msg']}" for f in error.errors()
        )
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{source} is not a valid {model.__name__}: {faults}"
        ) from None
