"""What an operator may set: read once from the environment, and from the options of `serve`."""

import os
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MEBIBYTE = 1024 * 1024


Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class Settings(BaseSettings):
    """The limits and choices of one service; each is also an environment variable, `VISTOK_` in front."""

    model_config = SettingsConfigDict(env_prefix="VISTOK_", extra="forbid", frozen=True)

    tokenizers: Annotated[tuple[str, ...], NoDecode] = ()
    """Bundled names or folders, in the environment separated by commas; none means all that are bundled."""
    devices: Annotated[tuple[Device, ...], NoDecode] = Field(("auto",), min_length=1)
    """Where the models run, a worker process on each: `auto` takes CUDA where there is some."""
    torch_threads: int | None = Field(default=None, ge=1)
    """Threads of one torch operation; None leaves torch's own choice."""
    media_threads: int = Field(default_factory=lambda: min(8, os.cpu_count() or 1), ge=1)
    """Threads that decode and encode media and parse bodies, off the event loop."""

    max_body_bytes: int = Field(default=64 * MEBIBYTE, ge=1)
    """The largest raw body, and the largest file of a multipart body."""
    max_multipart_bytes: int = Field(default=128 * MEBIBYTE, ge=1)
    max_files: int = Field(default=64, ge=1)
    """The most files of one multipart body."""
    max_pixels: int = Field(default=64_000_000, ge=1)
    """The largest picture that is decoded at all; read from its header, before anything is allocated."""
    max_model_pixels: int = Field(default=4096 * 4096, ge=1)
    """The largest picture that the model sees, after fitting and padding."""
    max_batch_pixels: int = Field(default=2048 * 2048, ge=1)
    """The most pixels of one batch; a single larger picture is a batch of its own."""
    max_queue: int = Field(default=256, ge=1)
    """The most items (pictures, grids) in the house at once, waiting or in work; above it: 429."""
    max_waiting_pixels: int = Field(default=64_000_000, ge=1)
    """The most pixels of pictures in the house at once; more wait, and a single larger picture is alone."""
    batch_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a batch may take before its worker counts as hung and is replaced."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a call may take, its upload included; after it: 504."""

    @field_validator("tokenizers", "devices", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @model_validator(mode="after")
    def _largest_call_fits_the_queue(self) -> Self:
        if self.max_files > self.max_queue:
            raise ValueError(
                f"max_files ({self.max_files}) is larger than max_queue ({self.max_queue}): "
                "a call with that many files would always be refused"
            )
        return self
