"""Clips made of photos, where real ones are few: what a camera and the things before it do.

Cameras that stand, pan, zoom, shake, go and stop; things that pass before the background and move otherwise
than it; cuts, fades, and light that changes. Everything is decided by the generator that is handed in.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

NextPhoto = Callable[[], Image.Image]

_CUT, _FADE, _LIGHT, _THING = 0.15, 0.08, 0.1, 0.5
_STANDS, _ZOOMS, _SHAKES = 0.25, 0.4, 0.3
# Of what moves: pixels a frame, drawn evenly on a logarithmic scale.
_SLOWEST, _FASTEST = 0.1, 20.0
# How long the camera goes on or stands before that changes, in frames.
_PHASE = 8
_MOST_ZOOM = 0.02
_SHAKE = 0.7
_MOST_LIGHT = 0.4


def moving_clip(
    next_photo: NextPhoto, frames: int, side: int, smallest_scale: float, random: np.random.Generator
) -> np.ndarray:
    """Give uint8 `(frames side side 3)` of one shot, or of two with a cut or a fade between them.

    Args:
        next_photo: gives another photo each time.
        frames: how many.
        side: height and width.
        smallest_scale: photos are shrunk by a random factor between this and 1.
        random: decides.
    """

    def shot() -> np.ndarray:
        return _shot(next_photo, frames, side, smallest_scale, random)

    clip = shot()
    chance = random.random()
    if chance < _CUT + _FADE and frames > 1:
        clip = _joined(clip, shot(), random, fades=chance > _CUT)
    if random.random() < _LIGHT:
        clip = _in_changing_light(clip, random)
    return clip


def _shot(
    next_photo: NextPhoto, frames: int, side: int, smallest_scale: float, random: np.random.Generator
) -> np.ndarray:
    photo = next_photo()
    boxes = _camera(photo.size, frames, side, random.uniform(smallest_scale, 1), random)
    shown = [photo.resize((side, side), Image.Resampling.BICUBIC, tuple(box)) for box in boxes]
    if random.random() < _THING:
        thing = _thing(next_photo(), side, random)
        for frame, place in zip(shown, _passage(frames, side, thing.size, random), strict=True):
            moved = thing.transform(frame.size, Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)
            frame.paste(moved, mask=moved.getchannel("A"))
    return np.stack([np.asarray(frame) for frame in shown])


def _camera(
    size: tuple[int, int], frames: int, side: int, scale: float, random: np.random.Generator
) -> np.ndarray:
    """Give what the camera sees in each frame: left, top, right, bottom, `(frames 4)`."""
    zoom = random.uniform(-_MOST_ZOOM, _MOST_ZOOM) if random.random() < _ZOOMS else 0.0
    path = np.zeros((frames, 2)) if random.random() < _STANDS else _path(frames, random)
    if random.random() < _SHAKES:
        path = path + random.normal(0, _SHAKE, (frames, 2))
    lengths = side / scale * np.exp(zoom * np.arange(frames))
    lengths = np.minimum(lengths, min(size))
    room = np.asarray(size) - lengths[:, None]
    begin = random.uniform(0, 1, 2) * room[0]
    corner = _reflected(begin + path, room)
    return np.concatenate((corner, corner + lengths[:, None]), axis=1)


def _path(frames: int, random: np.random.Generator) -> np.ndarray:
    """Give the way from the first frame to each, `(frames 2)` in pixels; it goes and stops."""
    speed = np.exp(random.uniform(np.log(_SLOWEST), np.log(_FASTEST)))
    angle = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.05, frames))
    goes = np.repeat(random.random(frames // _PHASE + 2) < 0.8, _PHASE)
    goes = goes[(start := random.integers(_PHASE)) : start + frames]
    steps = speed * goes[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return np.cumsum(steps, axis=0) - steps[0]


def _reflected(position: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Turn back at 0 and at `room`."""
    period = np.maximum(2 * room, 1e-6)
    return np.minimum(room, np.abs((position + room) % period - room))


def _thing(photo: Image.Image, side: int, random: np.random.Generator) -> Image.Image:
    """Cut something roundish out of a photo, RGBA."""
    size = np.minimum((random.uniform(0.15, 0.7, 2) * side).astype(int), photo.size)
    corner = (random.uniform(0, 1, 2) * (np.asarray(photo.size) - size)).astype(int)
    thing = photo.crop((*corner, *(corner + size)))
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = random.uniform(0.55, 0.95, len(angles)) / 2
    corners = np.stack((0.5 + radii * np.cos(angles), 0.5 + radii * np.sin(angles)), axis=1) * thing.size
    mask = Image.new("L", thing.size)
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners], fill=255)
    thing.putalpha(mask.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.5))))
    return thing


def _passage(
    frames: int, side: int, size: tuple[int, int], random: np.random.Generator
) -> list[tuple[float, float, float, float, float, float]]:
    """Give the affine map, from the shown frame to the thing's picture, of each frame."""
    middle = random.uniform(0, side, 2) - np.asarray(size) / 2
    path = _path(frames, random)
    places = middle + path - path[frames // 2]
    return [(1.0, 0.0, -float(x), 0.0, 1.0, -float(y)) for x, y in places]


def _joined(first: np.ndarray, second: np.ndarray, random: np.random.Generator, fades: bool) -> np.ndarray:
    """Go over from one shot to the other, at once or over some frames."""
    frames = len(first)
    middle = random.uniform(1, frames)
    width = random.uniform(2, frames) if fades else 1e-3
    share = np.clip((np.arange(frames) - middle) / width + 0.5, 0, 1)[:, None, None, None]
    return (first * (1 - share) + second * share).round().astype(np.uint8)


def _in_changing_light(clip: np.ndarray, random: np.random.Generator) -> np.ndarray:
    dark, light = (random.uniform(-_MOST_LIGHT, _MOST_LIGHT) for _ in range(2))
    gain = np.exp(np.linspace(dark, light, len(clip)))
    return np.clip(clip * gain[:, None, None, None], 0, 255).round().astype(np.uint8)
