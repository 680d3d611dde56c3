"""What a person sees of a training run: a progress bar and TensorBoard curves."""

import math
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from vistok.quantizers.usage import CodebookUsage


class Report:
    """Averages figures over `every` steps, then shows and logs them."""

    def __init__(self, folder: Path, steps: int, vocabulary_size: int, every: int = 25) -> None:
        self._writer = SummaryWriter(str(folder))
        self._progress = Progress(
            TextColumn("{task.fields[figures]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._progress.add_task("training", total=steps, figures="starting")
        self._vocabulary_size = vocabulary_size
        self._every = every
        self._restart()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._writer.close()

    def add(self, step: int, loss: Tensor, squared_error: Tensor, ids: Tensor, learning_rate: float) -> None:
        """Take one finished step: its loss, mean squared error of pixels in [-1, 1], and ids."""
        self._count += 1
        self._loss += loss.item()
        self._squared_error += squared_error.item()
        self._usage.add(ids)
        self._progress.update(self._task, completed=step)
        if self._count == self._every:
            self._show(step, learning_rate)
            self._restart()

    def _restart(self) -> None:
        self._count = 0
        self._loss = 0.0
        self._squared_error = 0.0
        self._usage = CodebookUsage(self._vocabulary_size)

    def _show(self, step: int, learning_rate: float) -> None:
        figures = {
            "loss": self._loss / self._count,
            "psnr": 10 * math.log10(4 / (self._squared_error / self._count)),
            "codebook_used": self._usage.used,
            "perplexity": self._usage.perplexity,
        }
        for name, value in {**figures, "learning_rate": learning_rate}.items():
            self._writer.add_scalar(name, value, step)
        text = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._progress.update(self._task, figures=text)
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"step {step} {text}", highlight=False, soft_wrap=True)
