"""What `reconstruct` returns."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Reconstruction:
    """A picture after one round trip through its tokens.

    `psnr` is in dB against the picture as it was prepared, infinite when nothing changed;
    `bits_per_pixel` is the packed size of the ids over the pixels of the picture.
    """

    image: Image.Image
    psnr: float
    bits_per_pixel: float
