"""What the tests of both directions look at: processes, descriptors, and both kinds of event loops."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import numpy as np
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run(loop: str, coroutine: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(coroutine, 60))


def is_gone(process_id: int) -> bool:
    """Whether there is no such process, not even one that nobody has waited for."""
    return not Path(f"/proc/{process_id}").exists()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled(number: Callable[[], int]) -> int:
    """Wait until a number has stopped growing, and give it."""
    last, same = -1, 0
    while same < 15:
        await asyncio.sleep(0.02)
        same = same + 1 if number() == last else 0
        last = number()
    return last


async def pieces_of(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for place in range(0, len(data), size):
        yield data[place : place + size]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
