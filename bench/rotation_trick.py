"""Does the rotation trick help? A residual VQ-VAE with and without it, with and without averaged codes.

    python bench/rotation_trick.py --train photos-train.tar --validation photos-val.tar

trains the same small network under each of four quantizers and prints the second table of bench/README.md.
The comparison is that of Fifty et al. (arXiv:2410.06424): gradients pass the quantizer straight through or
by rotation, codes follow moving averages (van den Oord et al., arXiv:1711.00937, appendix A.1) or the
gradients of a codebook loss. Every run of a seed sees the same crops and starts from the same weights.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistok.autoencoders.convolutional import ConvolutionalConfig
from vistok.config import QuantizerConfig, TokenizerConfig
from vistok.evaluation.measure import Summary, measure
from vistok.media.sources import PictureSource
from vistok.quantizers.usage import CodebookUsage
from vistok.tokenizer import VisualTokenizer
from vistok.training.config import DataConfig, LossConfig, OptimizationConfig, TrainingConfig
from vistok.training.trainer import train

_DIM, _CODES = 32, 1024
# Straight through as well, unless the rotation is asked for.
_PASSES = {"straight through": False, "rotation": True}
_UPDATES: dict[str, dict[str, Any]] = {
    "moving averages": {"decay": 0.99},
    "gradients": {"learnable_codebook": True},
}


@dataclass(frozen=True)
class Result:
    """What one run came to on the validation pictures; `mse` of pixels in [-1, 1]."""

    mse: float
    psnr: float
    used: float
    perplexity: float
    seconds: float

    @classmethod
    def mean(cls, results: list["Result"]) -> "Result":
        """Average over seeds."""
        rows = zip(*(vars(result).values() for result in results), strict=True)
        return cls(*map(statistics.fmean, rows))


def configuration(passes: str, update: str, seed: int, steps: int) -> TrainingConfig:
    """Give the run's recipe."""
    arguments = {"dim": _DIM, "codebook_size": _CODES, "rotation_trick": _PASSES[passes], **_UPDATES[update]}
    return TrainingConfig(
        tokenizer=TokenizerConfig(
            name="comparison",
            autoencoder=ConvolutionalConfig(
                latent_dim=_DIM, widths=(32, 96), encoder_blocks=(1, 2), decoder_blocks=(1, 2)
            ),
            quantizer=QuantizerConfig(type="VectorQuantize", arguments=arguments),
        ),
        data=DataConfig(crop=64),
        loss=LossConfig(l1=0.0, mse=1.0),
        optimization=OptimizationConfig(steps=steps, batch_size=16, learning_rate=1e-3, seed=seed),
    )


def run(config: TrainingConfig, training: Path, validation: Path) -> Result:
    """Train once, then measure."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train(config, training, Path(folder))
        seconds = time.perf_counter() - start
        tokenizer = VisualTokenizer.from_pretrained(folder)
    usage = CodebookUsage(_CODES)
    results = list(measure(tokenizer, PictureSource.open(validation), usage))
    mse = statistics.fmean(4 * 10 ** (-result.psnr / 10) for result in results)
    return Result(mse, Summary.of(results).psnr, 100 * usage.share, usage.perplexity, seconds)


def rows(seeds: int, steps: int, training: Path, validation: Path) -> Iterator[str]:
    """Give the table's rows: averages over the seeds, and the range of the reconstruction loss."""
    for update in _UPDATES:
        for passes in _PASSES:
            configs = [configuration(passes, update, seed, steps) for seed in range(seeds)]
            results = [run(config, training, validation) for config in configs]
            mean = Result.mean(results)
            losses = [result.mse for result in results]
            yield (
                f"| {update} | {passes} | {mean.mse:.4f} | {min(losses):.4f} to {max(losses):.4f} "
                f"| {mean.psnr:.2f} | {mean.used:.0f} % | {mean.perplexity:.0f} | {mean.seconds:.0f} |"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    table = list(rows(arguments.seeds, arguments.steps, arguments.train, arguments.validation))
    print(
        "| codes follow | gradients | loss | of each seed | PSNR (dB) | codes used | perplexity | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
