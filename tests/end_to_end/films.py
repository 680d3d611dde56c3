"""The clips that tests here send, and what they should get."""

from fractions import Fraction

from tests.clips import clip
from tests.pictures import scene
from vistok import VisualTokenizer
from vistok.clips import encode_clip
from vistok.media.clips.limits import ClipLimits
from vistok.media.clips.reading import open_clip
from vistok.media.clips.selection import Selection
from vistok_protocol.tokens import TokenGrid

FRAMES = [scene(30, 44, seed) for seed in range(45)]
FILM = clip(FRAMES, rate=Fraction(30000, 1001))
# A container whose frames can be told as they come.
ARRIVING = clip(FRAMES, container="matroska", rate=25)


def of_library(tokenizer: VisualTokenizer, data: bytes, selection: Selection | None = None) -> TokenGrid:
    """Give a clip's grid as the library makes it."""
    with open_clip(data, selection or Selection(), ClipLimits()) as opened:
        return encode_clip(tokenizer, opened.frames, opened.fps)
