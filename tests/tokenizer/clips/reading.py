"""Reading clips, said shortly."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.clips import number_of
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import Clip, open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.errors import VistokError

LIMITS = ClipLimits()
ALL = Selection()
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1"}


def read(
    source: object, selection: Selection = ALL, limits: ClipLimits = LIMITS
) -> tuple[Clip, list[np.ndarray]]:
    with open_clip(source, selection, limits) as opened:
        return opened, list(opened.frames)


def numbers(source: object, **selection: object) -> list[int]:
    return [number_of(frame) for frame in read(source, Selection(**selection))[1]]


def refusal(source: object, selection: Selection = ALL, limits: ClipLimits = LIMITS) -> VistokError:
    with pytest.raises(VistokError) as refused:
        read(source, selection, limits)
    return refused.value


def picture(
    frames: list[np.ndarray], image_format: str, delays: int | list[int] = 100, **options: object
) -> bytes:
    buffer, images = io.BytesIO(), [Image.fromarray(frame) for frame in frames]
    images[0].save(buffer, image_format, save_all=True, append_images=images[1:], duration=delays, **options)
    return buffer.getvalue()
