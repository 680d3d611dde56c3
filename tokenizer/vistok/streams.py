"""Clips through a tokenizer in pieces: exactly what the whole clip gives, in memory that does not grow.

It grows where a published network attends to the whole clip before. The network always sees the same pieces,
however the frames come: the first frame of a clip, then as many at a time as a latent frame stands for; in
decoding one latent frame at a time. So every sum is made in the same order, and results are equal to the last
bit. A tokenizer's own `encode` and `decode` are streams of one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vistok.autoencoders.catalogue import VideoAutoencoder
from vistok.autoencoders.memory import Memory
from vistok.grid_rules import check_ids
from vistok.pixel_rules import check_pixels
from vistok_protocol.errors import ErrorCode, VistokError

if TYPE_CHECKING:
    from vistok.tokenizer import VisualTokenizer


class StreamEncoder:
    """Frames to ids, each as soon as its last frame has come.

    Args:
        past: another stream's, when whole groups had come to it: this one goes on from there.

    Attributes:
        frames: how many have come to this stream.
    """

    def __init__(self, tokenizer: VisualTokenizer, past: Sequence[Tensor] = ()) -> None:
        self.frames = 0
        self._tokenizer = tokenizer
        self._autoencoder = causal_autoencoder(tokenizer)
        self._clips = _Clips(tokenizer, past)
        self._waiting: Tensor | None = None
        self._is_finished = False

    @torch.inference_mode()
    def push(self, frames: Tensor) -> Tensor:
        """Take the next frames `(b 3 T H W)`, as `encode` does; give the ids `(b t h w [k])` they complete.

        The first frame completes a latent frame by itself, after it each whole group does; `t` may be 0.
        Raises VistokError for frames that `encode` would refuse, or of another size than the first, or that
        come after the end.
        """
        check_pixels(frames, "video", self._tokenizer.factor)
        if self._is_finished:
            raise VistokError(ErrorCode.INVALID_REQUEST, "the clip has ended: a new one is a new stream")
        self._clips.check(frames.shape[0], frames.shape[-2:])
        self.frames += frames.shape[2]
        frames = frames.to(self._tokenizer.device).float()
        if self._waiting is not None:
            frames = torch.cat((self._waiting, frames), dim=2)
        return self._ids(frames)

    @property
    def past(self) -> list[Tensor]:
        """What is remembered of the whole groups that have come, each tensor `(b ...)`."""
        return self._clips.past

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """End the clip; give the ids `(b t h w [k])` of what is left, `t` being 0 or 1.

        A last group that is not whole is filled up with its last frame.
        """
        if self._waiting is None:
            raise VistokError(ErrorCode.INVALID_REQUEST, "expected a clip of at least one frame, got none")
        if self._is_finished:
            raise VistokError(ErrorCode.INVALID_REQUEST, "the clip has ended already")
        self._is_finished = True
        missing = -self._waiting.shape[2] % self._autoencoder.temporal_factor
        last = self._waiting[:, :, -1:].expand(-1, -1, missing, -1, -1)
        return self._ids(torch.cat((self._waiting, last), dim=2))

    def _ids(self, frames: Tensor) -> Tensor:
        """Do the whole groups, and keep the rest."""
        found = []
        while frames.shape[2] >= (size := 1 if self._clips.are_fresh else self._autoencoder.temporal_factor):
            group, frames = frames[:, :, :size], frames[:, :, size:]
            features = self._clips.run(self._autoencoder.encode, group)
            found.append(self._tokenizer.quantizer.ids_of_map(features))
        # A copy: a view would keep all frames that have come.
        self._waiting = frames.clone()
        return torch.cat((self._no_ids(frames), *found), dim=1)

    def _no_ids(self, frames: Tensor) -> Tensor:
        rows, columns = (side // self._tokenizer.factor for side in frames.shape[-2:])
        codebooks = (self._tokenizer.codebooks,) if self._tokenizer.codebooks > 1 else ()
        return frames.new_empty((len(frames), 0, rows, columns, *codebooks), dtype=torch.int64)


class StreamDecoder:
    """Ids to frames: one for the first latent frame of a clip, `temporal_factor` for each after it.

    Args:
        past: another stream's: this one goes on from there.
    """

    def __init__(self, tokenizer: VisualTokenizer, past: Sequence[Tensor] = ()) -> None:
        self._tokenizer = tokenizer
        self._autoencoder = causal_autoencoder(tokenizer)
        self._clips = _Clips(tokenizer, past)

    @property
    def past(self) -> list[Tensor]:
        """What is remembered of the ids that have come, each tensor `(b ...)`."""
        return self._clips.past

    @torch.inference_mode()
    def push(self, ids: Tensor) -> Tensor:
        """Take the next ids `(b t h w [k])`; give their frames `(b 3 t H W)` float32 in [-1, 1].

        Raises VistokError for ids that `decode` would refuse, or of another size than the first.
        """
        check_ids(self._tokenizer, ids.cpu().numpy())
        self._clips.check(ids.shape[0], ids.shape[2:])
        found = []
        for latent in ids.to(self._tokenizer.device, torch.int64).split(1, dim=1):
            codes = self._tokenizer.quantizer.lookup(latent)
            found.append(self._clips.run(self._autoencoder.decode, codes).clamp(-1, 1))
        return torch.cat(found, dim=2)


class _Clips:
    """The memories of the clips that come together: each its own where their company must not matter."""

    def __init__(self, tokenizer: VisualTokenizer, past: Sequence[Tensor]) -> None:
        self._batch_invariant = tokenizer.batch_invariant
        parts = [self._split(tensor.to(tokenizer.device)) for tensor in past]
        self._memories = [Memory(of_clip) for of_clip in zip(*parts, strict=True)]
        self._form: tuple[int, torch.Size] | None = None

    @property
    def past(self) -> list[Tensor]:
        """What all memories hold."""
        return [torch.cat(layers) for layers in zip(*(memory.past for memory in self._memories), strict=True)]

    @property
    def are_fresh(self) -> bool:
        """Whether no frame has gone through yet."""
        return not self._memories

    def check(self, clips: int, size: torch.Size) -> None:
        """Refuse a piece of other clips than the pieces before it."""
        self._form = self._form or (clips, size)
        if self._form != (clips, size):
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected {self._form[0]} clips of {tuple(self._form[1])}, as they began, "
                f"got {clips} of {tuple(size)}",
            )

    def run(self, network: Callable[[Tensor, Memory], Tensor], pieces: Tensor) -> Tensor:
        """Run a network on the next piece of every clip."""
        parts = self._split(pieces)
        self._memories = self._memories or [Memory() for _ in parts]
        return torch.cat([network(part, memory) for part, memory in zip(parts, self._memories, strict=True)])

    def _split(self, clips: Tensor) -> Sequence[Tensor]:
        return clips.split(1 if self._batch_invariant else len(clips))


def causal_autoencoder(tokenizer: VisualTokenizer) -> VideoAutoencoder:
    """Give the autoencoder of a video tokenizer; INVALID_REQUEST for another one."""
    if not isinstance(tokenizer.autoencoder, VideoAutoencoder):
        raise VistokError(ErrorCode.INVALID_REQUEST, f"{tokenizer.name} is for pictures: it has no streams")
    return tokenizer.autoencoder
