"""The training loop: crops in, a `save_pretrained` folder out."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vistok.evaluation.ssim import ssim
from vistok.media.sources import PictureSource
from vistok.tokenizer import VisualTokenizer
from vistok.training.config import LossConfig, OptimizationConfig, TrainingConfig
from vistok.training.data import RandomCrops
from vistok.training.processes import Place, place, uses_bf16
from vistok.training.report import Report
from vistok.training.state import TrainingState
from vistok_protocol.errors import ErrorCode, VistokError

_CHECKPOINT = "training.pt"
# Of a picture's squared error: 31 dB, above which a picture is not worth ever more.
_LOG_FLOOR = 0.003


def train(config: TrainingConfig, data: Path, output: Path) -> None:
    """Train on the pictures in `data` (folder or tar) and save the tokenizer to `output`.

    A checkpoint already in `output` is continued, with the same crops as an undisturbed run.
    """
    source = PictureSource.open(data)
    with place() as here:
        _train(config, source, output, here)


def _train(config: TrainingConfig, source: PictureSource, output: Path, here: Place) -> None:
    torch.manual_seed(config.optimization.seed)
    state = _state(config, output, here)
    with _report(config, output, here, state) as report:
        for pixels in _batches(config, source, here, state.step):
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


def _batches(config: TrainingConfig, source: PictureSource, here: Place, first_step: int) -> Iterator[Tensor]:
    """Yield this process's batches `(b 3 h w)` uint8 of all steps that are left."""
    batch, steps = config.optimization.batch_size, config.optimization.steps
    crops = RandomCrops(source, config.data, config.optimization.seed, steps * batch * here.world_size)
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
    pixels = (crops.to(here.device).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    state.tokenizer.train()
    bf16 = uses_bf16(config.optimization.precision, here.device)
    with torch.autocast(here.device.type, torch.bfloat16, enabled=bf16):
        reconstruction, quantized = state.network(pixels)
    reconstruction = reconstruction.float()
    loss = _reconstruction_loss(config.loss, pixels, reconstruction) + quantized.loss
    learning_rate = _learning_rate(config.optimization, state.step)
    _update(state, loss, learning_rate, config.optimization.clip_norm)
    if report:
        squared_error = functional.mse_loss(reconstruction.detach(), pixels)
        report.add(state.step, loss.detach(), squared_error, quantized.ids, learning_rate)


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
