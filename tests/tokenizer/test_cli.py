"""The command line as a person uses it: real processes, real files, and mistakes."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import clip
from tests.pictures import encoded, scene, write_folder
from tests.tokenizer.foreign.published import PUBLISHED
from vistok import VisualTokenizer
from vistok.clips import decode_clip, encode_clip
from vistok.grids import encode_picture
from vistok.media.clips.formats import USUAL_RATE
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.tokens import PixelSize, TokenGrid


def vistok(*arguments: object, code: int = 0) -> str:
    """Run the command line; give what it printed, and check how it ended."""
    done = subprocess.run(
        [sys.executable, "-m", "vistok", *map(str, arguments)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(scene(50, 77), "jpeg"))
    return path


def test_a_picture_to_tokens_and_back(photo: Path, tiny_folder: Path) -> None:
    said = vistok("encode", photo, "-o", photo.with_suffix(".vtok"), "-t", tiny_folder)
    assert "7 x 10 ids of tiny" in said
    back = photo.with_name("back.png")
    vistok("decode", photo.with_suffix(".vtok"), "-o", back, "-t", tiny_folder)
    assert size_of(back) == (77, 50)
    grid = TokenGrid.load(photo.with_suffix(".vtok"))
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    with Image.open(photo) as picture:
        assert grid == encode_picture(tokenizer, picture), "the library gives the same tokens"


def test_fitting_options(photo: Path, tiny_folder: Path) -> None:
    vistok("encode", photo, "-t", tiny_folder, "--fit", "crop", "--size", "32x16")
    assert TokenGrid.load(photo.with_suffix(".vtok")).shape == (4, 2)


def test_a_clip_to_tokens_and_back(tiny_video_folder: Path, tmp_path: Path) -> None:
    frames = [scene(34, 50, seed) for seed in range(7)]
    film = tmp_path / "film.mp4"
    film.write_bytes(clip(frames, rate=12))
    said = vistok("encode", film, "-t", tiny_video_folder, "--max-frames", 6)
    assert "3 x 5 x 7 ids of tiny" in said
    grid = TokenGrid.load(film.with_suffix(".vtok"))
    assert grid.pixels == PixelSize(34, 50, 6, 12)
    back = tmp_path / "back.webm"
    assert "34 x 50 pixels, 6 frames" in vistok(
        "decode", film.with_suffix(".vtok"), "-o", back, "-t", tiny_video_folder
    )
    with open_clip(back, Selection(), ClipLimits()) as shown:
        assert (shown.height, shown.width, shown.fps) == (34, 50, 12)
        assert len(list(shown.frames)) == 6


def test_a_clip_as_an_array_to_tokens_and_back(tiny_video_folder: Path, tmp_path: Path) -> None:
    frames = np.stack([scene(34, 50, seed) for seed in range(7)])
    np.save(tmp_path / "frames.npy", frames)
    tokens, back = tmp_path / "frames.vtok", tmp_path / "back.npy"
    vistok("encode", tmp_path / "frames.npy", "-t", tiny_video_folder)
    tokenizer = VisualTokenizer.from_pretrained(tiny_video_folder)
    grid = TokenGrid.load(tokens)
    assert grid == encode_clip(tokenizer, frames, USUAL_RATE)
    vistok("decode", tokens, "-o", back, "-t", tiny_video_folder)
    assert np.array_equal(np.load(back), list(decode_clip(tokenizer, grid)))


def test_a_picture_is_a_clip_of_one_frame(photo: Path, tiny_video_folder: Path) -> None:
    vistok("encode", photo, "-t", tiny_video_folder)
    grid = TokenGrid.load(photo.with_suffix(".vtok"))
    assert (grid.kind, grid.shape) == ("video", (1, 7, 10))
    said = vistok("decode", photo.with_suffix(".vtok"), "-t", tiny_video_folder)
    assert "photo.mp4" in said


def test_list_and_info(tiny_folder: Path) -> None:
    assert "quantizer" in vistok("list")
    described = json.loads(vistok("info", tiny_folder))
    assert (described["name"], described["vocabulary_size"], described["spatial_factor"]) == ("tiny", 60, 8)


def test_convert(tmp_path: Path) -> None:
    published = PUBLISHED["taming"]
    published.publish(published.tokenizer(), tmp_path / "theirs")
    said = vistok("convert", tmp_path / "theirs", tmp_path / "ours", "--name", "mine", "--licence", "CC0-1.0")
    assert "mine, taming, licence CC0-1.0" in said
    described = json.loads(vistok("info", tmp_path / "ours"))
    assert described["name"] == "mine"
    assert described["config"]["origin"] == {"family": "taming", "files": ["last.ckpt"]}
    assert described["config"]["autoencoder"]["pixels_in"] == [-1, 1]
    theirs = VisualTokenizer.from_pretrained(tmp_path / "theirs")
    assert described["fingerprint"] == theirs.fingerprint
    assert "exists already" in vistok("convert", tmp_path / "theirs", tmp_path / "ours", code=1)
    wrong = vistok("convert", tmp_path / "ours", tmp_path / "again", "--name", "not a name", code=1)
    assert "'not a name'" in wrong
    assert not (tmp_path / "again").exists()


def test_evaluate(tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_folder(tmp_path / name, 2)
    sheet = tmp_path / "sheet.png"
    data = ("--data", tmp_path / "first", "--data", tmp_path / "second")
    said = vistok("evaluate", tiny_folder, *data, "--picture", sheet, "--save")
    assert "PSNR" in said
    assert size_of(sheet) == (2 * 128 + 8, 2 * 96 + 8)
    quality = VisualTokenizer.from_pretrained(tiny_folder).config.quality
    assert quality is not None
    assert 0 < quality["first_psnr"] < 60
    assert 1 <= quality["vocabulary_used"] <= 60
    assert np.isclose(quality["bits_per_pixel"], 6 / 64, atol=1e-4)


def test_figures_are_kept_where_a_config_of_ours_is(tmp_path: Path) -> None:
    published = PUBLISHED["taming"]
    published.publish(published.tokenizer(), tmp_path / "theirs")
    write_folder(tmp_path / "photos", 1)
    arguments = ("evaluate", tmp_path / "theirs", "--data", tmp_path / "photos")
    assert "PSNR" in vistok(*arguments)
    assert "convert it first" in vistok(*arguments, "--save", code=1)


def test_evaluate_on_clips(tiny_video_folder: Path, tmp_path: Path) -> None:
    for name, count in (("short", 3), ("long", 22)):
        (tmp_path / f"{name}.mp4").write_bytes(clip([scene(20, 30, seed) for seed in range(count)]))
    sheet = tmp_path / "sheet.png"
    data = ("--data", tmp_path / "short.mp4", "--data", tmp_path / "long.mp4")
    said = vistok("evaluate", tiny_video_folder, *data, "--picture", sheet, "--save")
    assert "of the last 16" in said
    # Originals and reconstructions of both clips, six frames of the longer one.
    assert size_of(sheet) == (6 * 34 - 4, 4 * 24 - 4)
    quality = VisualTokenizer.from_pretrained(tiny_video_folder).config.quality
    assert quality is not None
    assert 0 < quality["short_psnr"] < 60
    assert np.isclose(quality["bits_per_pixel"], 6 / 256, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("encode", "missing.jpg"), "missing.jpg"),
        (("info", "image-fsq-f9"), "image-fsq-f9"),
        (("decode", "{text}", "-o", "{text}.png"), "token"),
        (("decode", "{tokens}", "-o", "{text}.xyz", "-t", "{tiny}"), "ending in"),
        (("encode", "{text}", "-t", "{tiny}"), "expected a picture"),
        (("encode", "{text}", "--start", "soon"), "expected start to be a number"),
        (("encode", "{text}", "--fit", "banana"), "banana"),
        (("evaluate", "{tiny}", "--data", "{text}"), "folder or an uncompressed tar"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], says: str, tiny_folder: Path, tmp_path: Path
) -> None:
    text, tokens = tmp_path / "text.txt", tmp_path / "some.vtok"
    text.write_text("no picture, no tokens")
    encode_picture(VisualTokenizer.from_pretrained(tiny_folder), scene(8, 8)).save(tokens)
    said = vistok(*(a.format(text=text, tokens=tokens, tiny=tiny_folder) for a in arguments), code=1)
    assert said.startswith("error: ")
    assert says in said
    assert len(said.splitlines()) == 1


def test_tokens_of_another_tokenizer_need_an_explicit_request(
    photo: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    vistok("encode", photo, "-t", tiny_folder)
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    tokenizer.autoencoder.decoder[0].bias.data += 0.1
    tokenizer.train().eval().save_pretrained(tmp_path / "other")
    tokens = photo.with_suffix(".vtok")
    said = vistok("decode", tokens, "-t", tmp_path / "other", code=1)
    assert tokenizer.fingerprint in said
    vistok("decode", tokens, "-t", tmp_path / "other", "--any-fingerprint")


def test_nothing_is_overwritten_by_a_default_name_nor_the_input(photo: Path, tiny_folder: Path) -> None:
    picture = photo.with_suffix(".png")
    picture.write_bytes(encoded(scene(16, 16)))
    before = picture.read_bytes()
    vistok("encode", picture, "-t", tiny_folder)
    tokens = picture.with_suffix(".vtok")
    assert "exists already" in vistok("decode", tokens, "-t", tiny_folder, code=1)
    assert "exists already" in vistok("encode", photo, "-t", tiny_folder, code=1)
    assert "is the input" in vistok("encode", picture, "-o", picture, "-t", tiny_folder, code=1)
    assert picture.read_bytes() == before


def test_a_broken_picture_is_named_and_left_out(tiny_folder: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", 2)
    (folder / "broken.png").write_bytes(b"no picture")
    done = subprocess.run(
        [sys.executable, "-m", "vistok", "evaluate", str(tiny_folder), "--data", str(folder)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "broken.png" in done.stderr


def test_version() -> None:
    assert vistok("--version").strip() == metadata.version("vistok")


def test_help_does_not_load_torch() -> None:
    script = "import sys, vistok.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
