"""Any size in, multiples of the factor out, and the shown size kept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import scene
from vistok.media.fitting import Fit, prepare
from vistok.media.pixels import to_model, to_uint8
from vistok_protocol.errors import VistokError

sides = st.integers(1, 70)
fits = st.builds(
    Fit,
    max_side=st.none() | st.integers(1, 80),
    fit=st.sampled_from(["pad", "crop", "resize"]),
    size=st.none() | st.tuples(sides, sides),
)


@given(height=sides, width=sides, fit=fits, factor=st.sampled_from([1, 4, 8, 16]))
@settings(max_examples=300, deadline=None)
def test_always_multiples_that_cover_what_is_shown(height: int, width: int, fit: Fit, factor: int) -> None:
    prepared = prepare(scene(height, width), fit, factor)
    rows, columns, colours = prepared.pixels.shape
    assert rows % factor == columns % factor == 0
    assert rows > 0 < columns
    assert colours == 3
    assert 0 < prepared.size.height <= rows
    assert 0 < prepared.size.width <= columns
    # Never more padding than the grid needs, unless a size was asked for.
    if fit.size is None:
        assert rows - prepared.size.height < factor
        assert columns - prepared.size.width < factor
    else:
        assert (rows, columns) == tuple(-(-side // factor) * factor for side in fit.size)


@given(height=sides, width=sides)
@settings(max_examples=50, deadline=None)
def test_by_default_every_pixel_stays(height: int, width: int) -> None:
    picture = scene(height, width)
    prepared = prepare(picture, Fit(), 8)
    assert (prepared.size.height, prepared.size.width) == (height, width)
    assert np.array_equal(prepared.pixels[:height, :width], picture)


def test_padding_repeats_the_edge() -> None:
    prepared = prepare(scene(13, 9), Fit(), 8)
    assert np.array_equal(prepared.pixels[13:], np.repeat(prepared.pixels[12:13], 3, axis=0))


def test_crop_takes_the_middle() -> None:
    picture = scene(30, 41)
    prepared = prepare(picture, Fit(fit="crop"), 8)
    assert np.array_equal(prepared.pixels, picture[3:27, 0:40])


def test_crop_to_a_size_keeps_proportions() -> None:
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, 40:] = 255
    prepared = prepare(stripes, Fit(fit="crop", size=(16, 16)), 8)
    assert prepared.pixels.shape == (16, 16, 3)
    assert (prepared.pixels[:, :5] == 0).all()
    assert (prepared.pixels[:, 11:] == 255).all()


def test_a_long_strip_is_cut_before_it_is_scaled() -> None:
    strip = np.full((1, 60_000, 3), 7, np.uint8)
    prepared = prepare(strip, Fit(fit="crop", size=(2048, 2048)), 8)
    assert prepared.pixels.shape == (2048, 2048, 3)


def test_max_side_shrinks_and_never_enlarges() -> None:
    assert prepare(scene(300, 200), Fit(max_side=150), 8).size.height == 150
    assert prepare(scene(30, 20), Fit(max_side=150), 8).size.height == 30


@pytest.mark.parametrize(
    "wrong",
    [{"fit": "banana"}, {"size": "256"}, {"size": "0x9999999"}, {"size": "-8x8"}, {"size": "8x"},
     {"size": "8x8x8"}, {"max_side": 0}, {"max_side": "many"}, {"max_side": -4}, {"size": "٨x٨"},
     {"size": "999999999999x8"}],
)  # fmt: skip
def test_wrong_words_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(VistokError, match="expected"):
        Fit.parse(**wrong)


def test_words_are_read() -> None:
    assert Fit.parse(512, "crop", "128x256") == Fit(512, "crop", (128, 256))
    assert Fit.parse() == Fit()


def test_every_level_survives_the_models_range() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    model = to_model(levels)
    assert model.min() == -1
    assert model.max() == 1
    assert np.array_equal(to_uint8(model), levels)
    assert to_uint8(torch.full((1, 3, 1, 1), 7.0)).max() == 255
