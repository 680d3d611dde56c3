"""What an operator may set: read once from options of `serve`, the environment, and a file."""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vistok.bundled import names as bundled_names
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.logs import LogFormat

MEBIBYTE = 1024 * 1024


Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


KeyEntry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+:[0-9a-f]{64}$")]

_PREFIX = "VISTOK_"


class Settings(BaseSettings):
    """The limits and choices of one service; each is also an environment variable, `VISTOK_` in front."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    tokenizers: Annotated[tuple[str, ...], NoDecode] = ()
    """Bundled names, folders, files or hf:org/name, each with NAME= in front to be called otherwise; in
    the environment separated by commas. None means all that are bundled."""
    devices: Annotated[tuple[Device, ...], NoDecode] = Field(("auto",), min_length=1)
    """Where the models run: a worker process on each, several on `cpu`; `auto` is CUDA where there is any."""
    torch_threads: int | None = Field(default=None, ge=1)
    """Threads of one torch operation; on processors there are as many workers as have room for so many."""
    media_threads: int | None = Field(default=None, ge=1)
    """Threads of each worker that decode and encode media; by default as many as its share of cores."""

    batch_invariant: bool = True
    """Whether a picture's tokens are the same in any batch; without it accelerators may be faster."""

    max_body_bytes: int = Field(default=64 * MEBIBYTE, ge=1)
    """The largest raw body, and the largest file of a multipart body."""
    max_multipart_bytes: int = Field(default=128 * MEBIBYTE, ge=1)
    """The largest multipart body."""
    max_files: int = Field(default=64, ge=1)
    """The most files of one multipart body."""
    max_pixels: int = Field(default=64_000_000, ge=1)
    """The largest picture that is decoded at all; read from its header, before anything is allocated."""
    max_model_pixels: int = Field(default=4096 * 4096, ge=1)
    """The largest picture that the model sees, after fitting and padding."""
    max_batch_pixels: int = Field(default=2048 * 2048, ge=1)
    """The most pixels of one batch; a single larger picture is a batch of its own."""
    max_batch_bytes: int | None = Field(default=None, ge=1)
    """The memory that a batch may take on its device, as measured while a tokenizer warms up; by default most
    of what an accelerator has free, and 4 GiB on a processor. Above it: split, or refused."""
    max_wait_ms: float = Field(default=5.0, ge=0)
    """How many milliseconds jobs gather before their batch is handed to a worker that is still busy, to lie
    ready there; a worker that has nothing to do gets what there is at once."""
    max_queue: int = Field(default=256, ge=1)
    """The most items (pictures, grids) in the house at once, waiting or in work; above it: 429."""
    max_clips: int = Field(default=16, ge=1)
    """The most clips that are decoded at once, each by a process of its own; above it: 429."""
    max_clip_bytes: int = Field(default=512 * MEBIBYTE, ge=1)
    """The largest clip that is answered with one grid."""
    max_clip_seconds: int = Field(default=300, ge=1)
    """The longest clip that is answered with one grid; one answered piece by piece may be of any length."""
    max_clip_frames: int = Field(default=20_000, ge=1)
    """The most frames of a clip that is answered with one grid."""
    max_clip_cache_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    """The most bytes of clips that are kept in a temporary folder since parts of them were asked for."""
    grid_folder: Path | None = None
    """Where the grids of PUT /v1/grids are kept; by default in a temporary folder, as long as it runs."""
    max_grid_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    """The most bytes of grids that are kept; above it the least recently used go."""
    max_waiting_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    """The most bytes of bodies in the house at once, arriving or waiting; above it: 429."""
    max_waiting_pixels: int = Field(default=1_000_000_000, ge=1)
    """The most pixels that may wait for a worker; above it: 429. A single larger job may wait alone."""
    batch_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a batch may take before its worker counts as hung and is replaced."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a call may take, its upload included; after it: 504."""
    grace_seconds: float = Field(default=60.0, gt=0)
    """How long the service finishes what it has admitted after it was told to stop; the rest is dropped."""
    log_format: LogFormat = "human"
    """`human`, or `json`: one object a line."""

    api_keys: Annotated[tuple[KeyEntry, ...], NoDecode] = ()
    """Who may call, as `vistok key NAME` prints it; none lets everybody in."""
    admin_keys: Annotated[tuple[KeyEntry, ...], NoDecode] = ()
    """Who may add and remove tokenizers while serving, as `vistok key NAME` prints it; none: nobody may."""
    calls_per_second: float | None = Field(default=None, gt=0)
    """The most calls of one caller; above it: 429."""
    max_items_per_caller: int | None = Field(default=None, ge=1)
    """The most items of one caller in the house at once; above it: 429."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Web pages that may call from a browser, such as https://example.org."""

    @field_validator("tokenizers", "devices", "api_keys", "admin_keys", "cors_origins", mode="before")
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

    @property
    def sources(self) -> tuple[str, ...]:
        """The tokenizers that are meant: those that are named, or else all that are bundled."""
        return self.tokenizers or tuple(bundled_names())

    @classmethod
    def load(cls, file: Path | None = None, **options: object) -> "Settings":
        """Take options first, then the environment, then a TOML file, then the defaults.

        Raises VistokError(INVALID_REQUEST) that names each setting that is unknown or not valid.
        """

        class WithFile(cls):  # type: ignore[valid-type,misc]
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                **others: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                sources = (init_settings, env_settings)
                return sources if file is None else (*sources, TomlConfigSettingsSource(settings_cls, file))

        faults = [f"{name}: no such setting" for name in os.environ if cls._is_unknown(name)]
        try:
            if file is not None and not file.is_file():
                raise FileNotFoundError(f"{file} is no file")
            settings = WithFile(**options)
        except ValidationError as error:
            faults += [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        except (OSError, tomllib.TOMLDecodeError) as error:
            faults.append(f"{file}: {error}")
        if faults:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"the settings are not valid: {'; '.join(faults)}")
        return cls.model_construct(**dict(settings))

    def to_toml(self) -> str:
        """Write all settings as a file that `load` reads, each with what it means."""
        return "\n".join(
            f"# {_one_line(field.description)}\n{_toml_line(name, getattr(self, name))}\n"
            for name, field in type(self).model_fields.items()
        )

    @classmethod
    def _is_unknown(cls, variable: str) -> bool:
        return variable.startswith(_PREFIX) and variable.removeprefix(_PREFIX).lower() not in cls.model_fields


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _toml_line(name: str, value: object) -> str:
    # JSON's numbers, strings and lists of them are TOML's too; TOML has no null.
    return f"# {name} =" if value is None else f"{name} = {json.dumps(value, default=str)}"
