"""Training for a few steps on real files: it learns, it resumes exactly, several processes agree."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import tiny_config
from tests.pictures import write_folder
from vistok import VisualTokenizer
from vistok.training.config import DataConfig, LossConfig, OptimizationConfig, TrainingConfig
from vistok.training.trainer import train
from vistok_protocol.errors import VistokError

RECIPE = """
checkpoint_steps = {checkpoint_steps}
[tokenizer]
name = "tiny"
autoencoder = {{ latent_dim = 3, widths = [8, 16], encoder_blocks = [1, 1], decoder_blocks = [1, 1] }}
quantizer = {{ type = "FSQ", arguments = {{ levels = [5, 4, 3] }} }}
[data]
crop = 32
workers = 0
[optimization]
steps = {steps}
batch_size = 2
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), 5, height=64, width=80)


def config(family: str = "FSQ", steps: int = 6, **changes: object) -> TrainingConfig:
    return TrainingConfig(
        tokenizer=tiny_config(family),
        optimization=OptimizationConfig(steps=steps, batch_size=2, warmup_steps=2),
        data=DataConfig(crop=32, workers=0, smallest_scale=0.7),
        **changes,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def run_cli(recipe: Path, data: Path, output: Path, *launcher: str) -> "subprocess.Popen[str]":
    command = [*(launcher or (sys.executable,)), "-m", "vistok", "train", str(recipe)]
    return subprocess.Popen(
        [*command, "--data", str(data), "--output", str(output)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("family", ["FSQ", "LFQ", "VectorQuantize"])
def test_every_family_trains_and_loads(family: str, pictures: Path, tmp_path: Path) -> None:
    train(config(family), pictures, tmp_path / "out")
    tokenizer = VisualTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.encode(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert ids.shape == (1, 8, 8)
    assert all(weight.isfinite().all() for weight in tokenizer.state_dict().values())
    assert list((tmp_path / "out" / "log").glob("events*"))


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(l1=0, mse=0, log_mse=0.3)], ids=str)
def test_training_lowers_the_error(loss: LossConfig, pictures: Path, tmp_path: Path) -> None:
    errors = []
    for steps in (1, 200):
        optimization = OptimizationConfig(steps=steps, batch_size=4, warmup_steps=5, ema_decay=0.9)
        recipe = config(loss=loss).model_copy(update={"optimization": optimization})
        train(recipe, pictures, tmp_path / str(steps))
        tokenizer = VisualTokenizer.from_pretrained(tmp_path / str(steps))
        picture = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
        errors.append((tokenizer.decode(tokenizer.encode(picture)) - picture).square().mean().item())
    assert errors[1] < 0.7 * errors[0]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(steps=60, checkpoint_steps=5))
    process = run_cli(recipe, pictures, tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "training.pt"
    try:
        while not checkpoint.exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < 60
    for name in ("killed", "undisturbed"):
        process = run_cli(recipe, pictures, tmp_path / name)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    killed, undisturbed = weights(tmp_path / "killed"), weights(tmp_path / "undisturbed")
    assert killed.keys() == undisturbed.keys()
    assert all(torch.equal(killed[name], undisturbed[name]) for name in killed)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["FSQ", "VectorQuantize"])
def test_two_processes_train_one_tokenizer(family: str, pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = RECIPE.format(steps=8, checkpoint_steps=100)
    if family == "VectorQuantize":
        arguments = "dim = 3, codebook_size = 16, kmeans_init = true, threshold_ema_dead_code = 1"
        text = text.replace("FSQ", family).replace("levels = [5, 4, 3]", arguments)
    recipe.write_text(text)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = run_cli(recipe, pictures, tmp_path / "out", *launcher)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    tokenizer = VisualTokenizer.from_pretrained(tmp_path / "out")
    assert all(weight.isfinite().all() for weight in tokenizer.state_dict().values())


def test_starting_from_a_trained_tokenizer_takes_its_weights(
    pictures: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    optimization = OptimizationConfig(steps=1, learning_rate=1e-12)
    started = config("LFQ", start_from=str(tiny_folder)).model_copy(update={"optimization": optimization})
    train(started, pictures, tmp_path / "out")
    before, after = weights(tiny_folder), weights(tmp_path / "out")
    name = "autoencoder.encoder.1.weight"
    torch.testing.assert_close(after[name].float(), before[name], rtol=1e-2, atol=1e-3)


def test_a_tar_gives_the_same_crops_as_its_folder(pictures: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pictures.tar", "w") as archive:
        archive.add(pictures, arcname=".")
    train(config(), pictures, tmp_path / "folder")
    train(config(), tmp_path / "pictures.tar", tmp_path / "tar")
    folder, tar = weights(tmp_path / "folder"), weights(tmp_path / "tar")
    assert all(torch.equal(folder[name], tar[name]) for name in folder)


def test_a_broken_picture_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "pictures", 2, 64, 64)
    (folder / "broken.jpg").write_bytes(b"no picture")
    train(config(), folder, tmp_path / "out")
    assert "broken.jpg" in caplog.text


def test_a_crop_that_the_tokenizer_cannot_take_is_refused(pictures: Path, tmp_path: Path) -> None:
    wrong = config().model_copy(update={"data": DataConfig(crop=33, workers=0)})
    with pytest.raises(VistokError, match="multiple of 8, got 33"):
        train(wrong, pictures, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint_is_refused_and_never_run(
    content: bytes, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "training.pt").write_bytes(content)
    with pytest.raises(VistokError, match="delete it to start anew"):
        train(config(), pictures, tmp_path)


def test_a_checkpoint_of_another_recipe_is_refused(pictures: Path, tmp_path: Path) -> None:
    train(config("FSQ", checkpoint_steps=2), pictures, tmp_path)
    with pytest.raises(VistokError, match="not a checkpoint of this recipe"):
        train(config("VectorQuantize"), pictures, tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VistokError, match="found none"):
        train(config(), tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps = ", "readable TOML"),
        ('[tokenizer]\nname = "x"\n', "optimization"),
        (RECIPE.format(steps=0, checkpoint_steps=5), "optimization.steps"),
        (RECIPE.format(steps=5, checkpoint_steps=5) + "lerning_rate = 1\n", "lerning_rate"),
    ],
)
def test_a_wrong_recipe_is_explained(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(VistokError, match=says):
        TrainingConfig.from_file(path)
