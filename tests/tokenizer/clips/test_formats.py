"""Clips as people have them, of every kind, shown as a viewer would show them."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.clips import Arriving, clip, number_of, numbered
from tests.pictures import encoded, scene
from tests.tokenizer.clips.reading import FRAGMENTED, numbers, picture, read

CODECS = [
    ("mp4", "libx264", "yuv420p"), ("mp4", "libx265", "yuv420p"), ("mp4", "libsvtav1", "yuv420p"),
    ("mp4", "libvpx-vp9", "yuv420p"), ("matroska", "libx264", "yuv420p10le"),
    ("mp4", "libx265", "yuv420p10le"),
    ("webm", "libsvtav1", "yuv420p10le"), ("webm", "libvpx-vp9", "yuv420p"),
    ("mpegts", "libx264", "yuv420p"), ("avi", "libx264", "yuv420p"), ("flv", "libx264", "yuv420p"),
    ("h264", "libx264", "yuv420p"), ("hevc", "libx265", "yuv420p"), ("ivf", "libvpx-vp9", "yuv420p"),
    ("matroska", "libx264", "yuv444p"), ("matroska", "ffv1", "yuv422p"),
]  # fmt: skip


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
@pytest.mark.parametrize(("container", "codec", "pixels"), CODECS)
def test_every_codec_and_container(container: str, codec: str, pixels: str, arrive: type) -> None:
    options = FRAGMENTED if container == "mp4" else None
    data = clip(numbered(48)[::4], container, codec, 25, pixels=pixels, container_options=options)
    opened, frames = read(arrive(data))
    assert (opened.height, opened.width, opened.fps) == (48, 64, 25)
    assert [round(number_of(frame) / 4) for frame in frames] == list(range(12))
    assert all(frame.dtype == np.uint8 and frame.shape == (48, 64, 3) for frame in frames)
    assert not opened.warnings


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
@pytest.mark.parametrize("container", ["avi", "mjpeg"])
def test_motion_jpeg(container: str, arrive: type) -> None:
    data = clip(numbered(8), container, "mjpeg", 25, pixels="yuvj420p", matrix=5, full_range=True)
    opened, frames = read(arrive(data))
    assert opened.fps == 25
    assert [number_of(frame) for frame in frames] == list(range(8))


@pytest.mark.parametrize("arrive", [bytes, Arriving], ids=["whole", "arriving"])
@pytest.mark.parametrize("image_format", ["gif", "webp", "png"])
def test_animations(image_format: str, arrive: type) -> None:
    data = picture(numbered(6), image_format, lossless=True)
    opened, frames = read(arrive(data))
    assert opened.fps == 10
    assert np.array_equal(frames, numbered(6))


@pytest.mark.parametrize("image_format", ["gif", "webp"])
def test_delays_of_an_animation_are_kept(image_format: str) -> None:
    data = picture(numbered(4), image_format, [100, 300, 100, 200], lossless=True)
    assert numbers(data, fps=Fraction(10)) == [0, 1, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("image_format", ["gif", "webp"])
def test_transparency_lies_on_white(image_format: str) -> None:
    images = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(2)]
    for index, image in enumerate(images):
        image.paste((200, 100, 50, 255), (index, 0, index + 8, 16))
    buffer = io.BytesIO()
    images[0].save(buffer, image_format, save_all=True, append_images=images[1:], duration=100,
                   lossless=True, disposal=2)  # fmt: skip
    _, frames = read(buffer.getvalue())
    assert (frames[0][:, 10:] == 255).all()
    assert (frames[0][:, :8] == (200, 100, 50)).all()
    assert (frames[1][:, 0] == 255).all()


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp", "bmp"])
def test_a_picture_is_a_clip_of_one_frame(image_format: str) -> None:
    data = encoded(scene(40, 56), image_format)
    for source in (data, Arriving(data)):
        opened, frames = read(source)
        assert (opened.height, opened.width, len(frames)) == (40, 56, 1)
        assert np.array_equal(frames[0], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
