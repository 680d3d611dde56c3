"""The command line: `vistok encode, decode, list, info, convert, train, evaluate`, and what others add.

Commands import what they need when they run, so that help and listings do not wait for torch.
"""

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import numpy as np

from vistok import bundled
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.tokens import TokenGrid

try:
    import typer
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table
except ModuleNotFoundError as missing:
    raise SystemExit(f"the command line needs {missing.name}: pip install 'vistok[server]'") from None

app = typer.Typer(
    help="Pictures and clips into token grids and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def encode(
    file: Annotated[Path, typer.Argument(help="A picture or a clip.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: the file's name, .vtok.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            "-t",
            help="A bundled name, a folder or file, or hf:org/name. Default: the usual for the file.",
        ),
    ] = None,
    max_side: Annotated[int | None, typer.Option(help="Shrink the longer side to this many pixels.")] = None,
    fit: Annotated[str, typer.Option(help="pad, crop or resize.")] = "pad",
    size: Annotated[str | None, typer.Option(help="Height and width wanted, such as 256x384.")] = None,
    fps: Annotated[str | None, typer.Option(help="Frames a second that are taken of a clip.")] = None,
    start: Annotated[str | None, typer.Option(help="Seconds of a clip that are left out.")] = None,
    duration: Annotated[str | None, typer.Option(help="Seconds of a clip that are taken.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Frames of a clip that are taken, at most.")] = None,
) -> None:
    """Turn a picture or a clip into a token file."""
    from vistok.files import encode_file
    from vistok.media.clips.selection import Selection
    from vistok.media.fitting import Fit
    from vistok.tokenizer import VisualTokenizer

    wanted = Fit.parse(max_side, fit, size)
    selection = Selection.parse(fps, start, duration, max_frames, max_side)
    output = output or _free(file.with_suffix(".vtok"))
    _keep(file, output)
    loaded = VisualTokenizer.from_pretrained(tokenizer or bundled.usual_for(file))
    grid, warnings = encode_file(loaded, file, wanted, selection, _shown)
    grid.save(output)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(
        f"{output}: {' x '.join(map(str, grid.shape))} ids of {grid.tokenizer}, {output.stat().st_size} bytes"
    )


@app.command()
def decode(
    tokens: Annotated[Path, typer.Argument(help="A token file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: the file's name, .png or .mp4.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", "-t", help="Default: the one named in the file.")
    ] = None,
    any_fingerprint: Annotated[bool, typer.Option(help="Decode ids that another tokenizer made.")] = False,
) -> None:
    """Turn tokens back into a picture (.png, .webp, .jpg) or a clip (.mp4, .webm, .gif, .webp, .npy)."""
    from vistok.files import decode_file
    from vistok.tokenizer import VisualTokenizer

    grid = TokenGrid.load(tokens)
    output = output or _free(tokens.with_suffix(".png" if grid.kind == "image" else ".mp4"))
    _keep(tokens, output)
    loaded = VisualTokenizer.from_pretrained(tokenizer or grid.tokenizer)
    decode_file(loaded, grid, output, any_fingerprint, _shown)
    frames = f", {grid.pixels.frames} frames" if grid.pixels.frames else ""
    print(f"{output}: {grid.pixels.height} x {grid.pixels.width} pixels{frames}")


@app.command("list")
def list_tokenizers() -> None:
    """List the bundled tokenizers."""
    from vistok.checkpoints.native import load_config

    table = Table("name", "quantizer", "quality")
    for name in bundled.names():
        config = load_config(name)
        quality = ", ".join(f"{key} {value:.4g}" for key, value in (config.quality or {}).items())
        table.add_row(name, config.quantizer.type, quality)
    Console().print(table)


@app.command()
def info(
    tokenizer: Annotated[str, typer.Argument(help="A bundled name, a folder or file, or hf:org/name.")],
) -> None:
    """Describe a tokenizer, as JSON; `config` is what it is made of."""
    from vistok.tokenizer import VisualTokenizer

    loaded = VisualTokenizer.from_pretrained(tokenizer)
    config = loaded.config.model_dump(mode="json", include={"autoencoder", "quantizer", "origin"})
    print(json.dumps({**loaded.describe().model_dump(), "config": config}, indent=2))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A published checkpoint: a folder or file, or hf:org/name.")],
    destination: Annotated[Path, typer.Argument(help="The new folder.")],
    name: Annotated[str | None, typer.Option(help="Default: the name of the source.")] = None,
    licence: Annotated[str | None, typer.Option(help="Default: that of the family's authors.")] = None,
) -> None:
    """Write a tokenizer as a folder of ours: config.json and model.safetensors."""
    from vistok.tokenizer import VisualTokenizer

    _new(destination)
    loaded = VisualTokenizer.from_pretrained(source)
    if name is not None:
        loaded.rename(name)
    if licence is not None:
        loaded.config = loaded.config.model_copy(update={"licence": licence})
    loaded.save_pretrained(destination)
    family = loaded.config.origin.family if loaded.config.origin else "ours"
    print(f"{destination}: {loaded.name}, {family}, licence {loaded.config.licence}")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.")],
    data: Annotated[Path, typer.Option(help="A folder or tar of pictures.")],
    output: Annotated[Path, typer.Option(help="Folder for the tokenizer, its checkpoints and its log.")],
    clips: Annotated[
        Path | None,
        typer.Option(help="Clips, for a video tokenizer; others are made of the pictures."),
    ] = None,
) -> None:
    """Train a tokenizer; started again on the same output, it goes on where it was."""
    from vistok.training.config import TrainingConfig
    from vistok.training.trainer import train as run

    run(TrainingConfig.from_file(config), data, output, clips)


@app.command()
def evaluate(
    tokenizer: Annotated[str, typer.Argument(help="A bundled name, a folder or file, or hf:org/name.")],
    data: Annotated[
        list[Path], typer.Option(help="A folder or tar of pictures, or of clips; may be given several times.")
    ],
    picture: Annotated[
        Path | None, typer.Option(help="Write originals beside reconstructions to this PNG.")
    ] = None,
    save: Annotated[
        bool, typer.Option(help="Keep the figures as the tokenizer's quality in its config.")
    ] = False,
) -> None:
    """Measure PSNR, SSIM and use of the vocabulary."""
    from vistok.evaluation.command import evaluate as run

    run(tokenizer, data, picture, save)


def _shown(frames: Iterable[np.ndarray], expected: float | None) -> Iterable[np.ndarray]:
    """Show how far a clip is, where somebody watches."""
    return track(frames, "frames", expected, console=Console(stderr=True), transient=True)


def _free(default: Path) -> Path:
    """Refuse a name that nobody asked for where a file has it already: it may be the original picture."""
    if default.exists():
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{default} exists already: choose a name with --output")
    return default


def _new(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{folder} exists already: expected a new folder")


def _keep(source: Path, output: Path) -> None:
    if output.exists() and output.samefile(source):
        raise VistokError(
            ErrorCode.INVALID_REQUEST, f"{output} is the input: choose another name with --output"
        )


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("vistok"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit status 1."""
    for extra in entry_points(group="vistok.commands"):
        # Without the packages of its extra, a command is not there.
        with suppress(ModuleNotFoundError):
            app.command(extra.name)(extra.load())
    try:
        app()
    except (VistokError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
