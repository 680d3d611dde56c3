"""A PIL image gives the tokens that its file would: what is sent shows what the library would see."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.client.service import Service
from vistok.media.image import read_image, to_rgb
from vistok.media.limits import Limits
from vistok_client import Client
from vistok_protocol import media_types
from vistok_protocol.npy import read_npy

Connect = Callable[..., Client]
PNG, TIFF, NPY = "image/png", "image/tiff", media_types.NPY
# How each mode travels: plain, and with a colour profile.
MODES = {
    "RGB": (NPY, PNG),
    "L": (NPY, PNG),
    "1": (PNG, PNG),
    "LA": (PNG, PNG),
    "P": (PNG, PNG),
    "PA": (PNG, PNG),
    "RGBA": (PNG, PNG),
    "RGBa": (PNG, PNG),
    "I;16": (PNG, PNG),
    "I;16B": (PNG, PNG),
    "I;16L": (TIFF, TIFF),
    "I": (TIFF, TIFF),
    "F": (TIFF, TIFF),
    "CMYK": (TIFF, TIFF),
    "RGBX": (NPY, NPY),
    "YCbCr": (NPY, NPY),
    "HSV": (NPY, NPY),
    "LAB": (NPY, NPY),
}
NOISE = np.random.default_rng(0)


def image_of(mode: str) -> Image.Image:
    """Make an image of 13 x 20 pixels that uses the range of its mode, and more where it can."""
    if mode.startswith("I;16"):
        return Image.frombytes(mode, (13, 20), NOISE.bytes(2 * 13 * 20))
    if mode in ("I", "F"):
        values = NOISE.uniform(-100, 70_000 if mode == "I" else 300, (20, 13))
        return Image.fromarray(values.astype(np.int32 if mode == "I" else np.float32))
    colours = Image.fromarray(NOISE.integers(0, 256, (20, 13, 4), dtype=np.uint8))
    if mode == "PA":
        return colours.convert("P").convert("PA")
    return colours.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr", "LAB") else colours.convert(mode)


def profile(mode: str) -> bytes:
    """Make a profile under which red and green change places; for L, one under which grey is lighter."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    if mode == "L":
        # The curve of red becomes that of grey, with an exponent of 1.5 in place of 2.4.
        data = data.replace(b"RGB XYZ ", b"GRAYXYZ ").replace(b"rTRC", b"kTRC")
        return data.replace(b"\x00\x02\x66\x66", b"\x00\x01\x80\x00")
    return data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def check_sent(service: Service, image: Image.Image, expected_type: str) -> None:
    content, media_type = service.last.content, service.last.headers["content-type"]
    assert media_type == expected_type
    if media_type == NPY:
        pixels = read_npy(content, max_elements=10_000)
    else:
        pixels = read_image(content, Limits(max_bytes=1_000_000, max_pixels=10_000))
    np.testing.assert_array_equal(pixels, np.asarray(to_rgb(image)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned"])
@pytest.mark.parametrize("profiled", [False, True], ids=["plain", "profiled"])
def test_every_mode_arrives_as_the_library_sees_it(
    connect: Connect, mode: str, turned: bool, profiled: bool
) -> None:
    image = image_of(mode)
    if profiled:
        image.info["icc_profile"] = profile(mode)
    if turned:
        image.getexif()[0x0112] = 6
    service = Service()
    grid = connect(service).encode(image)
    check_sent(service, image, MODES[mode][profiled])
    assert (grid.pixels.height, grid.pixels.width) == ((13, 20) if turned else (20, 13))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_profiles_of_these_tests_change_pictures(mode: str) -> None:
    image = image_of(mode)
    plain = np.asarray(to_rgb(image))
    image.info["icc_profile"] = profile(mode)
    assert (np.asarray(to_rgb(image)) != plain).any()


@pytest.mark.parametrize(("mode", "key"), [("RGB", (1, 2, 3)), ("L", 7), ("P", 7), ("1", 255)])
def test_transparent_colours_travel_as_png(connect: Connect, mode: str, key: Any) -> None:
    image = image_of("RGB").convert(mode)
    image.putpixel((4, 5), key)
    image.info["transparency"] = key
    service = Service()
    connect(service).encode(image)
    check_sent(service, image, PNG)
    assert (np.asarray(to_rgb(image))[5, 4] == 255).all()


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "JPEG"), ("RGB", "PNG"), ("RGB", "WEBP"), ("RGB", "TIFF"), ("CMYK", "JPEG"), ("CMYK", "TIFF")],
)
def test_an_opened_file_is_sent_as_the_library_would_open_it(
    connect: Connect, mode: str, file_format: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    # A lossy TIFF, which must not be lost twice.
    options = {"compression": "jpeg"} if file_format == "TIFF" else {}
    stream = io.BytesIO()
    image_of(mode).save(stream, file_format, exif=exif, icc_profile=profile(mode), **options)
    service = Service()
    with Image.open(stream) as image:
        assert image.mode == mode
        connect(service).encode(image)
        check_sent(service, image, TIFF if mode == "CMYK" else PNG)
        assert to_rgb(image).size == (20, 13)
