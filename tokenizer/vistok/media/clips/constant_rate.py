"""Frames at any times to frames at a constant rate: repeated and left out so that time is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Timed(Generic[Picture]):
    """A picture, when it appears, and how long it is shown if none follows, in seconds of the clip."""

    picture: Picture
    time: Fraction
    duration: Fraction


def at_constant_rate(
    pictures: Iterator[Timed[Picture]], own_rate: Fraction, fps: Fraction, start: Fraction, count: int | None
) -> Iterator[Picture]:
    """Give the pictures that are shown at `start`, `start + 1 / fps` and so on.

    What is shown at a time is the last picture that has appeared. Containers round times, so half a
    frame's length is allowed for: a clip of a constant rate, read at that rate, gives each frame once.

    Args:
        pictures: with times that never go back.
        own_rate: how many pictures a second there are, about.
        fps: how many are given.
        start: seconds from the clip's beginning.
        count: how many are given at most. No picture is asked for beyond what these need.
    """
    allowance = min(1 / own_rate, 1 / fps) / 2
    slot = 0
    shown: Timed[Picture] | None = None
    for picture in pictures:
        while shown is not None and start + slot / fps + allowance < picture.time:
            yield shown.picture
            slot += 1
            if slot == count:
                return
        shown = picture
    if shown is None:
        return
    end = shown.time + shown.duration - allowance
    # A last picture that is hardly shown at all is still a picture.
    while start + slot / fps < end or (slot == 0 and start < shown.time + shown.duration):
        yield shown.picture
        slot += 1
        if slot == count:
            return
