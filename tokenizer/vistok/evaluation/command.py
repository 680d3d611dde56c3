"""`vistok evaluate`: measure on one or more sets of pictures or clips, print a table, keep the figures."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vistok.checkpoints import native
from vistok.evaluation.clips import ClipResult, contact_sheet, measure_clip
from vistok.evaluation.measure import PictureResult, Summary, bits_per_pixel, measure, side_by_side
from vistok.media.clips.folder import ClipFolder
from vistok.media.image import format_of
from vistok.media.sources import PictureSource
from vistok.quantizers.usage import CodebookUsage
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError

# Rows of the side-by-side picture, from the first set.
_SHOWN = 6


@dataclass
class _Findings:
    table: Table
    sheet: Image.Image
    quality: dict[str, float] = field(default_factory=dict)


def evaluate(name_or_folder: str, data: list[Path], picture: Path | None, save: bool) -> None:
    """Measure a tokenizer on each folder or tar in `data`; the use of the vocabulary is over all of them."""
    if picture:
        format_of(picture)
    folder = native.locate(name_or_folder)
    if save and not native.is_native(folder):
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{folder} has no config of ours: convert it first")
    tokenizer = VisualTokenizer.from_pretrained(name_or_folder)
    usage = CodebookUsage(tokenizer.vocabulary_size)
    findings = (_on_clips if tokenizer.kind == "video" else _on_pictures)(tokenizer, data, usage)
    quality = findings.quality | {
        "bits_per_pixel": round(bits_per_pixel(tokenizer), 4),
        "vocabulary_used": usage.used,
        "vocabulary_used_share": round(usage.share, 4),
        "perplexity": round(usage.perplexity, 1),
    }
    _show(tokenizer, findings.table, usage)
    if picture:
        findings.sheet.save(picture)
    if save:
        native.save_config(folder, tokenizer.config.model_copy(update={"quality": quality}))


def _on_pictures(tokenizer: VisualTokenizer, data: list[Path], usage: CodebookUsage) -> _Findings:
    sources = [PictureSource.open(path) for path in data]
    table = Table("pictures", "number", "PSNR (dB)", "SSIM")
    quality: dict[str, float] = {}
    shown: list[PictureResult] = []
    for path, source in zip(data, sources, strict=True):
        results = list(track(measure(tokenizer, source, usage), path.name, len(source), transient=True))
        shown = shown or results[:: max(1, len(results) // _SHOWN)][:_SHOWN]
        if not results:
            raise VistokError(ErrorCode.UNREADABLE_MEDIA, f"no picture in {path} can be read")
        summary = Summary.of(results)
        table.add_row(path.stem, str(summary.pictures), f"{summary.psnr:.2f}", f"{summary.ssim:.4f}")
        quality |= {f"{path.stem}_psnr": round(summary.psnr, 3), f"{path.stem}_ssim": round(summary.ssim, 4)}
    return _Findings(table, side_by_side(shown), quality)


def _on_clips(tokenizer: VisualTokenizer, data: list[Path], usage: CodebookUsage) -> _Findings:
    paths = [path for folder in data for path in ClipFolder.open(folder).paths]
    table = Table("clip", "frames", "PSNR (dB)", "of the first 16", "of the last 16", "SSIM")
    quality: dict[str, float] = {}
    results: list[ClipResult] = []
    for path in track(paths, "clips", transient=True):
        results.append(result := measure_clip(tokenizer, path, usage))
        mean, similarity = fmean(result.psnr), fmean(result.ssim)
        ends = (f"{value:.2f}" for value in (mean, result.first_psnr, result.last_psnr))
        table.add_row(path.stem, str(len(result.psnr)), *ends, f"{similarity:.4f}")
        quality |= {f"{path.stem}_psnr": round(mean, 3), f"{path.stem}_ssim": round(similarity, 4)}
    return _Findings(table, contact_sheet(results), quality)


def _show(tokenizer: VisualTokenizer, table: Table, usage: CodebookUsage) -> None:
    console = Console()
    console.print(table)
    console.print(
        f"{tokenizer.name}: {bits_per_pixel(tokenizer):.4g} bits per pixel; "
        f"{usage.used} of {tokenizer.vocabulary_size} ids in use ({usage.share:.1%}), "
        f"perplexity {usage.perplexity:.1f}",
        highlight=False,
        soft_wrap=True,
    )
