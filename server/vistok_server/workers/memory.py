"""How much memory a tokenizer takes for a pixel, and so how many pixels a worker can do at once."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vistok.tokenizer import VisualTokenizer
from vistok_server.settings import MEBIBYTE

# Of the picture that is measured: large enough that what does not grow with it is little beside the rest.
_SIDE = 256
# Of the clip that is measured: as long as a piece of a clip, so that all its frames count.
_CLIP_SIDE, _CLIP_FRAMES = 128, 17
# Of what is free on an accelerator once all models are loaded; the rest is for what libraries take unasked.
_SHARE_OF_FREE = 0.8
_ON_A_PROCESSOR = 4096 * MEBIBYTE


def affordable_pixels(tokenizer: VisualTokenizer, max_bytes: int | None) -> int:
    """Give how many pixels the tokenizer can encode or decode at once, in so many bytes if they are given.

    Of a clip these are the pixels of one frame.
    """
    return int((max_bytes or _free_bytes(tokenizer.device)) / _bytes_per_pixel(tokenizer))


def _free_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return _ON_A_PROCESSOR
    return _SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0]


def _bytes_per_pixel(tokenizer: VisualTokenizer) -> float:
    of_clips = tokenizer.kind == "video"
    side = -(-(_CLIP_SIDE if of_clips else _SIDE) // tokenizer.factor) * tokenizer.factor
    frames = (_CLIP_FRAMES,) if of_clips else ()
    with PeakMemory() as encoding:
        ids = tokenizer.encode(torch.zeros(1, 3, *frames, side, side))
    with PeakMemory() as decoding:
        tokenizer.decode(ids)
    return max(encoding.peak, decoding.peak) / side**2


class PeakMemory(TorchDispatchMode):
    """Follows the tensors that come and go, on any device.

    Attributes:
        peak: the most bytes that lived at one time, of tensors made within.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: torch would load its compiler, 150 MB, only to be kept from compiling this."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Do an operation, and count what it gives."""
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, torch.Tensor):
                self._count(output.untyped_storage())
        self.peak = max(self.peak, sum(self._alive.values()))
        return outputs

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = storage.nbytes()
            weakref.finalize(storage, self._alive.pop, key, None)
