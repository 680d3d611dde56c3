"""README's commands and code run as they stand, but for the port, and its figures are the measured ones."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import write_folder
from tests.service import Service, started
from vistok import bundled
from vistok.checkpoints.native import load_config
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
START, CURL, CLIENT, CLIPS, CLIP_COMMANDS, COMMANDS, LIBRARY, QUANTIZER, TRAINING = [
    text for _, text in BLOCKS
]


# Of README's tables: the measures, and how they are written.
FIGURES = {
    "image": (("kodak_psnr", ".2f"), ("kodak_ssim", ".3f"), ("vocabulary_used", ",d")),
    "video": (("bikes_psnr", ".2f"), ("carphone_pristine_psnr", ".2f"), ("vocabulary_used", ",d")),
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started() as running:
        yield running


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with README's photo, where its commands may write."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return tmp_path


def run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command), cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_start_command_is_a_target() -> None:
    plan = subprocess.run(
        [*shlex.split(START), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "vistok serve --host 127.0.0.1 --port 8000" in plan


def test_the_curl_command(service: Service, workplace: Path) -> None:
    answer = run(CURL.replace("http://127.0.0.1:8000", service.url), workplace)
    assert '"tokenizer":"image-fsq-f8"' in answer.replace(" ", "")
    assert '"shape":[64,96]' in answer.replace(" ", "")


def test_the_client_code(service: Service, workplace: Path) -> None:
    code = (
        CLIENT.replace("http://127.0.0.1:8000", service.url)
        + "\nassert grid.ids.shape == (64, 96)\nclient.close()"
    )
    run(f"{sys.executable} -c {shlex.quote(code)}", workplace)
    with Image.open(workplace / "back.png") as back, Image.open(ROOT / "docs" / "photo.jpg") as photo:
        assert back.size == photo.size


def test_the_client_code_for_clips(service: Service, workplace: Path) -> None:
    code = CLIPS.replace("http://127.0.0.1:8000", service.url) + "\nassert grid.ids.shape == (11, 20, 30)"
    printed = run(f"{sys.executable} -c {shlex.quote(code)}", workplace).splitlines()
    assert sum(int(re.findall(r"\d+", line)[0]) for line in printed) == 11
    assert shown_frames(workplace / "back.mp4") == shown_frames(ROOT / "docs" / "clip.mp4") == 41


def test_the_commands_for_clips(workplace: Path) -> None:
    for command in CLIP_COMMANDS.splitlines():
        assert run(command, workplace)
    assert shown_frames(workplace / "back.mp4") == 41


def shown_frames(path: Path) -> int:
    with open_clip(path, Selection(), ClipLimits()) as clip:
        return len(list(clip.frames))


def test_the_commands_without_a_server(workplace: Path) -> None:
    for command in COMMANDS.splitlines():
        assert run(command, workplace)
    assert (workplace / "photo.vtok").stat().st_size == pytest.approx(12_288, rel=0.02), "12 kB"


@pytest.mark.parametrize("code", [LIBRARY, QUANTIZER], ids=["tokenizer", "quantizer"])
def test_the_librarys_code(code: str, workplace: Path) -> None:
    run(f"{sys.executable} -c {shlex.quote(code)}", workplace)


@pytest.mark.slow
def test_the_training_commands(workplace: Path) -> None:
    pictures = write_folder(workplace / "pictures", 3, 160, 160)
    recipe = (ROOT / "recipes" / "image-fsq-f8.toml").read_text()
    (workplace / "recipes").unlink()
    (workplace / "recipes").mkdir()
    (workplace / "recipes" / "image-fsq-f8.toml").write_text(re.sub(r"steps = \d+", "steps = 2", recipe))
    for command in TRAINING.splitlines():
        assert run(command.replace("FOLDER_OR_TAR", str(pictures)), workplace)
    assert (workplace / "side-by-side.png").is_file()


@pytest.mark.parametrize("name", bundled.names())
def test_the_quality_table_is_what_was_measured(name: str) -> None:
    config = load_config(name)
    assert config.quality is not None
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    for key, form in FIGURES[config.kind]:
        value = config.quality[key]
        assert format(int(value) if form == ",d" else value, form) in row


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
