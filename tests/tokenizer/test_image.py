"""Pictures as people have them, shown as a viewer would show them."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.pictures import encoded, scene
from vistok.media.image import read_image, write_image
from vistok.media.limits import Limits
from vistok_protocol.errors import ErrorCode, VistokError

LIMITS = Limits()
PIXELS = scene(40, 56)


def saved(picture: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_header_of(height: int, width: int) -> bytes:
    """A valid PNG of a few hundred bytes that announces any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_lossless_formats_come_back_exactly(image_format: str) -> None:
    data = encoded(PIXELS, image_format, lossless=True)
    assert np.array_equal(read_image(data, LIMITS), PIXELS)


def test_png_written_is_the_picture() -> None:
    assert np.array_equal(read_image(write_image(PIXELS, "png"), LIMITS), PIXELS)


@pytest.mark.parametrize("image_format", ["webp", "jpeg"])
def test_lossy_formats_written_are_close(image_format: str) -> None:
    back = read_image(write_image(PIXELS, image_format), LIMITS)
    assert np.abs(back.astype(int) - PIXELS).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    picture = Image.fromarray(PIXELS)
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}  # fmt: skip
    if orientation in undo:
        picture = picture.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_image(saved(picture, "png", exif=exif), LIMITS), PIXELS)


def test_transparency_lies_on_white() -> None:
    alpha = np.zeros((*PIXELS.shape[:2], 1), np.uint8)
    alpha[:20] = 255
    data = saved(Image.fromarray(np.concatenate([PIXELS, alpha], axis=2)), "png")
    back = read_image(data, LIMITS)
    assert np.array_equal(back[:20], PIXELS[:20])
    assert (back[20:] == 255).all()


def test_transparent_palette_lies_on_white() -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(0, (0, 0, 4, 8))
    back = read_image(saved(picture, "png", transparency=0), LIMITS)
    assert (back[:, :4] == 255).all()
    assert (back[:, 4:] == (200, 100, 50)).all()


def test_sixteen_bit_grey_shows_its_high_byte() -> None:
    levels = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    back = read_image(saved(Image.fromarray(levels), "png"), LIMITS)
    assert np.array_equal(back[..., 0], (levels >> 8).astype(np.uint8))
    assert np.array_equal(back[..., 0], back[..., 2])


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert(mode)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(read_image(saved(picture, "png"), LIMITS), expected)


def test_cmyk_becomes_rgb() -> None:
    flat = Image.new("RGB", (32, 32), (200, 60, 30)).convert("CMYK")
    back = read_image(saved(flat, "jpeg", quality=95), LIMITS)
    assert np.abs(back.astype(int) - (200, 60, 30)).max() <= 6


def swapping_profile() -> bytes:
    """A profile under which red and green change places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * data[131], 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace(b"s\0R\0G\0B", b"t\0e\0s\0t")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_holds_in_every_mode(mode: str) -> None:
    flat = Image.new("RGB", (8, 8), (200, 60, 30))
    flat = flat.quantize(2) if mode == "P" else flat.convert(mode)
    back = read_image(saved(flat, "png", icc_profile=swapping_profile()), LIMITS)
    assert np.abs(back.astype(int) - (60, 200, 30)).max() <= 4


def test_a_broken_colour_profile_is_ignored() -> None:
    data = saved(Image.fromarray(PIXELS), "png", icc_profile=b"no profile at all")
    assert np.array_equal(read_image(data, LIMITS), PIXELS)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert (read_image(data, LIMITS) == (255, 0, 0)).all()


def test_no_bytes() -> None:
    with pytest.raises(VistokError) as refused:
        read_image(b"", LIMITS)
    assert refused.value.code is ErrorCode.EMPTY_BODY


@pytest.mark.parametrize("data", [b"hello, this is text", b"\0" * 64, b"%PDF-1.7 ...", b"<svg></svg>"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(VistokError, match="expected a picture") as refused:
        read_image(data, LIMITS)
    assert refused.value.code is ErrorCode.UNREADABLE_MEDIA


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_picture_cut_short(image_format: str, share: float) -> None:
    data = encoded(scene(200, 200), image_format)
    with pytest.raises(VistokError) as refused:
        read_image(data[: int(len(data) * share)], LIMITS)
    assert refused.value.code is ErrorCode.UNREADABLE_MEDIA


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_give_a_picture_or_our_error(data: st.DataObject) -> None:
    whole = bytearray(
        encoded(scene(24, 24), data.draw(st.sampled_from(["jpeg", "png", "webp", "gif", "tiff"])))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(VistokError):
        pixels = read_image(bytes(whole), Limits(max_pixels=10**6))
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


def test_a_picture_too_large_is_refused_by_its_header() -> None:
    data = png_header_of(30_000, 30_000)
    assert len(data) < 4096
    with pytest.raises(VistokError, match="900000000 pixels") as refused:
        read_image(data, LIMITS)
    assert refused.value.code is ErrorCode.TOO_LARGE


def test_too_many_bytes() -> None:
    with pytest.raises(VistokError, match="at most 100 bytes") as refused:
        read_image(encoded(PIXELS), Limits(max_bytes=100))
    assert refused.value.code is ErrorCode.TOO_LARGE
