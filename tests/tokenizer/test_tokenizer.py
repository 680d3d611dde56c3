"""The tokenizer through its public face: shapes, invariance, files, mistakes."""

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import QUANTIZERS, tiny_tokenizer_of
from vistok import VisualTokenizer, bundled
from vistok_protocol.errors import ErrorCode, VistokError

every_family = pytest.mark.parametrize("family", QUANTIZERS)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1


@every_family
def test_shapes_and_ranges(family: str) -> None:
    tokenizer = tiny_tokenizer_of(family)
    ids = tokenizer.encode(pictures(2, 40, 64))
    assert ids.shape == (2, 5, 8)
    assert ids.dtype == torch.int64
    decoded = tokenizer.decode(ids)
    assert decoded.shape == (2, 3, 40, 64)
    assert decoded.abs().max() <= 1


@pytest.mark.parametrize("name", bundled.names())
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (48, 48), (128, 72)])
def test_ids_depend_on_the_picture_alone(name: str, height: int, width: int) -> None:
    """Or the clip: not on the batch, and not on the number of threads."""
    tokenizer = VisualTokenizer.from_pretrained(name)
    batch = pictures(5, height, width)
    if tokenizer.kind == "video":
        batch = torch.stack([batch.roll(time, dims=-1) for time in range(5)], dim=2)
    together = tokenizer.encode(batch)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            alone = torch.cat([tokenizer.encode(one) for one in batch.split(1)])
            assert torch.equal(together, alone)
    finally:
        torch.set_num_threads(threads)


def test_without_invariance_networks_run_whole_batches(
    tiny_tokenizer: VisualTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = tiny_tokenizer.autoencoder.encode
    monkeypatch.setattr(
        tiny_tokenizer.autoencoder, "encode", lambda pixels: seen.append(len(pixels)) or encode(pixels)
    )
    pixels = torch.rand(3, 3, 16, 24) * 2 - 1
    invariant = tiny_tokenizer.encode(pixels)
    tiny_tokenizer.batch_invariant = False
    together = tiny_tokenizer.encode(pixels)
    assert seen == [1, 1, 1, 3]
    assert (together == invariant).float().mean() > 0.95


def test_a_token_sees_a_bounded_window(tiny_tokenizer: VisualTokenizer) -> None:
    picture = pictures(1, 256, 256)
    changed = picture.clone()
    changed[..., -16:, -16:] = 1
    before, after = tiny_tokenizer.encode(picture), tiny_tokenizer.encode(changed)
    assert not torch.equal(before, after)
    assert torch.equal(before[:, :16, :16], after[:, :16, :16])


@every_family
def test_quantize_and_lookup_are_the_tokenizers_own_halves(family: str) -> None:
    tokenizer = tiny_tokenizer_of(family)
    batch = pictures(2, 32, 32)
    with torch.inference_mode():
        features = torch.cat([tokenizer.autoencoder.encode(one) for one in batch.split(1)])
    ids = tokenizer.quantize(features)
    codes = tokenizer.lookup(ids)
    assert codes.shape == features.shape
    assert torch.equal(tokenizer.quantize(codes), ids) or family != "LFQ"


@every_family
def test_a_saved_tokenizer_comes_back_the_same(family: str, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer_of(family)
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = VisualTokenizer.from_pretrained(tmp_path / "saved")
    batch = pictures(1, 64, 64)
    assert torch.equal(loaded.encode(batch), tokenizer.encode(batch))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.describe() == tokenizer.describe()


def test_the_fingerprint_follows_what_ids_mean(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer_of()
    before = tokenizer.fingerprint
    renamed = VisualTokenizer(tokenizer.config.model_copy(update={"name": "other", "licence": "MIT"}))
    renamed.load_weights(tokenizer.state_dict(), source="test")
    assert renamed.fingerprint == before
    changed = {name: weight.clone() for name, weight in tokenizer.state_dict().items()}
    changed["autoencoder.decoder.0.bias"][0] += 1e-3
    renamed.load_weights(changed, source="test")
    assert renamed.fingerprint != before
    assert tiny_tokenizer_of("LFQ").fingerprint != before


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 64, 64), torch.float32), ((1, 4, 64, 64), torch.float32), ((1, 3, 60, 64), torch.float32),
     ((1, 3, 64, 64), torch.uint8), ((0, 3, 64, 64), torch.float32), ((1, 3, 0, 64), torch.float32)],
)  # fmt: skip
def test_pixels_of_another_shape_are_refused(
    tiny_tokenizer: VisualTokenizer, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    with pytest.raises(VistokError, match=r"expected floating-point pictures \(b 3 h w\)") as refused:
        tiny_tokenizer.encode(torch.zeros(shape, dtype=dtype))
    assert refused.value.code is ErrorCode.INVALID_SHAPE


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (torch.full((1, 2, 2), 60), ErrorCode.ID_OUT_OF_RANGE),
        (torch.full((1, 2, 2), -1), ErrorCode.ID_OUT_OF_RANGE),
        (torch.zeros(2, 2, dtype=torch.int64), ErrorCode.INVALID_SHAPE),
        (torch.zeros(1, 2, 2), ErrorCode.INVALID_SHAPE),
        (torch.zeros(1, 0, 2, dtype=torch.int64), ErrorCode.INVALID_SHAPE),
    ],
)
def test_wrong_ids_are_refused(tiny_tokenizer: VisualTokenizer, ids: torch.Tensor, code: ErrorCode) -> None:
    for use in (tiny_tokenizer.decode, tiny_tokenizer.lookup):
        with pytest.raises(VistokError) as refused:
            use(ids)
        assert refused.value.code is code


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.uint64]
)
def test_ids_of_any_whole_dtype_are_taken(tiny_tokenizer: VisualTokenizer, dtype: torch.dtype) -> None:
    ids = torch.arange(20).view(1, 4, 5)
    assert torch.equal(tiny_tokenizer.decode(ids.to(dtype)), tiny_tokenizer.decode(ids))
    assert torch.equal(tiny_tokenizer.lookup(ids.to(dtype)), tiny_tokenizer.lookup(ids))


@pytest.mark.parametrize("factor", [torch.nan, torch.inf, 255])
def test_pixels_in_another_range_are_refused(tiny_tokenizer: VisualTokenizer, factor: float) -> None:
    with pytest.raises(VistokError, match=r"expected pixels in \[-1, 1\]"):
        tiny_tokenizer.encode(pictures(1, 16, 16) * factor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pixels_of_any_floating_dtype_are_taken(tiny_tokenizer: VisualTokenizer, dtype: torch.dtype) -> None:
    assert tiny_tokenizer.encode(pictures(1, 16, 16).to(dtype)).shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("autoencoder", {"widths": [10**7, 10**7]}),
        ("quantizer", {"arguments": {"levels": [8.5, 8, 8]}}),
        ("quantizer", {"arguments": {"levels": [2**40] * 3}}),
        ("quantizer", {"type": "VectorQuantize", "arguments": {"dim": 3, "codebook_size": 10**13}}),
        ("quantizer", {"type": "VectorQuantize", "arguments": {"dim": 3, "codebook_size": -1}}),
        ("quantizer", {"type": "LFQ", "arguments": {"dim": "x"}}),
        (
            "quantizer",
            {"type": "MultiScaleVQ", "arguments": {"dim": 3, "scales": [1]}},
        ),
        ("quantizer", {"type": "Quantizer", "arguments": {}}),
        ("quantizer", {"type": "__name__", "arguments": {}}),
    ],
)
def test_a_config_that_asks_for_nonsense_is_refused(
    tiny_folder: Path, part: str, values: dict[str, object]
) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    config[part] |= values
    (tiny_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VistokError):
        VisualTokenizer.from_pretrained(tiny_folder)


def test_a_device_that_is_not_there_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(VistokError, match="cannot use device"):
        VisualTokenizer.from_pretrained(tiny_folder, device="no such device")


def test_features_that_are_not_finite_are_refused(tiny_tokenizer: VisualTokenizer) -> None:
    features = torch.zeros(1, 3, 4, 4)
    features[0, 0, 0, 0] = torch.nan
    with pytest.raises(VistokError, match="finite"):
        tiny_tokenizer.quantize(features)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(VistokError, match=r"expected a bundled tokenizer .* got 'image-fsq-f9'") as refused:
        VisualTokenizer.from_pretrained("image-fsq-f9")
    assert refused.value.code is ErrorCode.TOKENIZER_NOT_FOUND


def test_a_misspelt_key_in_the_config_is_named(tiny_folder: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    config["autoencoder"]["width"] = [8, 16]
    (tiny_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VistokError, match=r"autoencoder\.convolutional\.width"):
        VisualTokenizer.from_pretrained(tiny_folder)


def test_a_misspelt_quantizer_argument_is_named(tiny_folder: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    config["quantizer"]["arguments"]["level"] = [3, 3]
    (tiny_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VistokError, match="'level'"):
        VisualTokenizer.from_pretrained(tiny_folder)


def test_weights_of_another_size_are_refused(tiny_folder: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    config["autoencoder"]["widths"] = [8, 32]
    (tiny_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VistokError, match="do not fit"):
        VisualTokenizer.from_pretrained(tiny_folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 100])
def test_a_damaged_weights_file_is_refused(tiny_folder: Path, content: bytes) -> None:
    (tiny_folder / "model.safetensors").write_bytes(content)
    with pytest.raises(VistokError, match="safetensors"):
        VisualTokenizer.from_pretrained(tiny_folder)


@pytest.mark.parametrize("name", bundled.names())
def test_bundled_tokenizers_are_small_and_described(name: str) -> None:
    folder = bundled.folder(name)
    assert (folder / "model.safetensors").stat().st_size <= 8 * 2**20
    assert (folder / "README.md").is_file()
    tokenizer = VisualTokenizer.from_pretrained(name)
    assert tokenizer.name == name
    assert tokenizer.describe().quality
