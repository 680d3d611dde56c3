"""The training loop: crops in, a `save_pretrained` folder out."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vistok.evaluation.ssim import ssim
from vistok.media.clips.folder import ClipFolder
from vistok.media.sources import PictureSource
from vistok.tokenizer import VisualTokenizer
from vistok.training.clips import RandomClips
from vistok.training.config import LossConfig, OptimizationConfig, TrainingConfig
from vistok.training.data import RandomCrops
from vistok.training.processes import Place, place, uses_bf16
from vistok.training.report import Report
from vistok.training.state import TrainingState
from vistok_protocol.errors import ErrorCode, VistokError

Samples = Callable[[int], Dataset[Tensor]]
"""So many samples, each decided by its index."""

_CHECKPOINT = "training.pt"
# Of a picture's squared error: 31 dB, above which a picture is not worth ever more.
_LOG_FLOOR = 0.003


def train(config: TrainingConfig, data: Path, output: Path, clips: Path | None = None) -> None:
    """Train on the pictures in `data` (folder or tar) and save the tokenizer to `output`.

    A video tokenizer is trained on clips that are made of the pictures, and on those in the folder `clips`.
    A checkpoint already in `output` is continued, with the same crops as an undisturbed run.
    """
    samples = _samples(config, PictureSource.open(data), ClipFolder.open(clips) if clips else None)
    with place() as here:
        _train(config, samples, output, here)


def _samples(config: TrainingConfig, pictures: PictureSource, clips: ClipFolder | None) -> Samples:
    seed = config.optimization.seed
    if config.tokenizer.kind == "video":
        return lambda count: RandomClips(pictures, clips, config.data, seed, count)
    if clips:
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{config.tokenizer.name} is for pictures: expected no clips"
        )
    return lambda count: RandomCrops(pictures, config.data, seed, count)


def _train(config: TrainingConfig, samples: Samples, output: Path, here: Place) -> None:
    torch.manual_seed(config.optimization.seed)
    state = _state(config, output, here)
    with _report(config, output, here, state) as report:
        for pixels in _batches(config, samples, here, state.step):
            _step(config, here, state, pixels, report)
            if here.is_first and state.step % config.checkpoint_steps == 0:
                state.save(output / _CHECKPOINT)
    if here.is_first:
        state.averaged_tokenizer().save_pretrained(output, torch.float16)


def _state(config: TrainingConfig, output: Path, here: Place) -> TrainingState:
    tokenizer = VisualTokenizer(config.tokenizer)
    if config.data.crop % tokenizer.factor:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected data.crop to be a multiple of {tokenizer.factor}, got {config.data.crop}",
        )
    if tokenizer.kind == "video" and config.data.frames % tokenizer.temporal_factor != 1:
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            f"expected data.frames to be 1 and a multiple of {tokenizer.temporal_factor}, "
            f"got {config.data.frames}",
        )
    if config.start_from:
        _take_over(tokenizer, VisualTokenizer.from_pretrained(config.start_from))
    state = TrainingState.fresh(tokenizer.to(here.device), config.optimization, here)
    if (output / _CHECKPOINT).is_file():
        state.load(output / _CHECKPOINT, here.device)
    return state


def _take_over(tokenizer: VisualTokenizer, other: VisualTokenizer) -> None:
    mine = tokenizer.state_dict()
    theirs = {n: w for n, w in other.state_dict().items() if n in mine and mine[n].shape == w.shape}
    tokenizer.load_state_dict({**mine, **theirs})


def _report(
    config: TrainingConfig, output: Path, here: Place, state: TrainingState
) -> AbstractContextManager[Report | None]:
    if not here.is_first:
        return nullcontext()
    return Report(output / "log", config.optimization.steps, state.tokenizer.vocabulary_size)


def _batches(config: TrainingConfig, samples: Samples, here: Place, first_step: int) -> Iterator[Tensor]:
    """Yield this process's batches `(b 3 [t] h w)` uint8 of all steps that are left."""
    batch, steps = config.optimization.batch_size, config.optimization.steps
    crops = samples(steps * batch * here.world_size)
    starts = ((step * here.world_size + here.rank) * batch for step in range(first_step, steps))
    loader = DataLoader(
        crops,
        batch_sampler=[list(range(start, start + batch)) for start in starts],
        num_workers=config.data.workers,
        pin_memory=here.device.type == "cuda",
    )
    yield from loader


def _step(
    config: TrainingConfig, here: Place, state: TrainingState, crops: Tensor, report: Report | None
) -> None:
    pixels = crops.to(here.device).float() / 127.5 - 1
    if pixels.ndim == 4:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    state.tokenizer.train()
    bf16 = uses_bf16(config.optimization.precision, here.device)
    with torch.autocast(here.device.type, torch.bfloat16, enabled=bf16):
        reconstruction, quantized = state.network(pixels)
    pixels, reconstruction = _pictures(pixels), _pictures(reconstruction.float())
    loss = _reconstruction_loss(config.loss, pixels, reconstruction) + quantized.loss
    learning_rate = _learning_rate(config.optimization, state.step)
    _update(state, loss, learning_rate, config.optimization.clip_norm)
    if report:
        squared_error = functional.mse_loss(reconstruction.detach(), pixels)
        report.add(state.step, loss.detach(), squared_error, quantized.ids, learning_rate)


def _pictures(pixels: Tensor) -> Tensor:
    """Take clips `(b c t h w)` apart into their frames `(b*t c h w)`."""
    return pixels.movedim(2, 1).flatten(0, 1) if pixels.ndim == 5 else pixels


def _update(state: TrainingState, loss: Tensor, learning_rate: float, clip_norm: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.tokenizer.parameters(), clip_norm)
    state.optimizer.step()
    state.average.update_parameters(state.tokenizer)
    state.step += 1


def _reconstruction_loss(weights: LossConfig, pixels: Tensor, reconstruction: Tensor) -> Tensor:
    loss = weights.l1 * functional.l1_loss(reconstruction, pixels)
    loss = loss + weights.mse * functional.mse_loss(reconstruction, pixels)
    if weights.log_mse:
        squared_error = (reconstruction - pixels).square().flatten(1).mean(dim=1)
        loss = loss + weights.log_mse * (squared_error + _LOG_FLOOR).log().mean()
    if weights.structure:
        loss = loss + weights.structure * (1 - ssim(reconstruction, pixels))
    return loss


def _learning_rate(config: OptimizationConfig, step: int) -> float:
    """Rise in a line over the warm-up, then fall in a half cosine to zero."""
    warm = min((step + 1) / max(config.warmup_steps, 1), 1)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))
