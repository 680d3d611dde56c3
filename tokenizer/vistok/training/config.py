"""What a training run is, as it stands in its TOML file."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from vistok.config import TokenizerConfig, parse
from vistok_protocol.errors import ErrorCode, VistokError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Pictures and clips, and how they are cut.

    Attributes:
        crop: side of the square crops, in pixels; a multiple of the tokenizer's factor.
        frames: of each clip that a video tokenizer is trained on; 1 and a multiple of its temporal factor.
        real_clips: the share of them that is cut from clips, where there are any; others are made of photos.
        smallest_scale: pictures are shrunk by a random factor between this and 1 before the crop.
        workers: processes that decode, beside the one that trains.
    """

    crop: PositiveInt = 128
    frames: PositiveInt = 17
    real_clips: float = Field(default=0.4, ge=0, le=1)
    smallest_scale: float = Field(default=1.0, gt=0, le=1)
    workers: NonNegativeInt = 1


class LossConfig(_Section):
    """Weights of the reconstruction terms, all on pixels in [-1, 1]."""

    l1: NonNegativeFloat = 1.0
    mse: NonNegativeFloat = 1.0
    log_mse: NonNegativeFloat = 0.0
    """Weight of the mean of pictures' log(MSE + 0.003), which is about their mean PSNR."""
    structure: NonNegativeFloat = 0.0
    """Weight of 1 - SSIM."""


class OptimizationConfig(_Section):
    """AdamW with linear warm-up and cosine decay to zero; `batch_size` is per process."""

    steps: PositiveInt
    batch_size: PositiveInt = 8
    learning_rate: PositiveFloat = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: NonNegativeFloat = 1e-4
    warmup_steps: NonNegativeInt = 100
    clip_norm: PositiveFloat = 1.0
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """auto: bf16 autocast on CUDA and on processors with bf16 instructions, else float32."""
    seed: NonNegativeInt = 0


class TrainingConfig(_Section):
    """A whole run.

    Attributes:
        start_from: a bundled name or folder whose weights are taken over where name and shape agree.
        checkpoint_steps: steps between two checkpoints, from which a killed run goes on.
    """

    tokenizer: TokenizerConfig
    optimization: OptimizationConfig
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    start_from: str | None = None
    checkpoint_steps: PositiveInt = 250

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a TOML file."""
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"{path} is not readable TOML: {error}") from None
        return parse(cls, values, source=str(path))
