"""Which workers there are: one for each accelerator, and on processors one for every few cores."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vistok_server.settings import Settings

_CPU = "cpu"
# More processes than these on one machine cost more memory than they gain; torch's threads take the rest.
_MOST_ON_PROCESSORS = 8
_MOST_MEDIA_THREADS = 8
_SIGNS_OF_CUDA = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True)
class Placement:
    """Where one worker runs its models, and on how many threads it does what."""

    device: str
    torch_threads: int
    """Of one operation on the processor."""
    media_threads: int
    """That decode and encode media."""

    @property
    def lanes(self) -> int:
        """How many batches it takes at a time: on a processor, media of the next would only slow this one."""
        return 1 if self.device == _CPU else 2

    def to_arguments(self) -> list[str]:
        """Give it as arguments of a command."""
        return [self.device, str(self.torch_threads), str(self.media_threads)]

    @classmethod
    def from_arguments(cls, device: str, torch_threads: str, media_threads: str) -> Self:
        """Read them back."""
        return cls(device, int(torch_threads), int(media_threads))


def placements(settings: Settings) -> list[Placement]:
    """Give the place of each worker.

    A device stands for one worker. Processors stand for several of few threads each, since two pictures
    side by side are done sooner than each of them by two threads.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = [_resolved(device) for device in settings.devices]
    share = max(1, cores // len(devices))
    return [placement for device in devices for placement in _on(device, share, settings)]


def _on(device: str, cores: int, settings: Settings) -> Iterator[Placement]:
    if device != _CPU:
        media = settings.media_threads or min(cores, _MOST_MEDIA_THREADS)
        yield Placement(device, settings.torch_threads or cores, media)
        return
    threads = min(cores, settings.torch_threads or -(-cores // _MOST_ON_PROCESSORS))
    for _ in range(cores // threads):
        yield Placement(_CPU, threads, settings.media_threads or threads)


def _resolved(device: str) -> str:
    """Tell what `auto` is, as far as that can be told without torch.

    A worker that is told `auto` and finds no CUDA takes the processor.
    """
    if device != "auto" or any(sign.exists() for sign in _SIGNS_OF_CUDA):
        return device
    return _CPU
