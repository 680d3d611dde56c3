"""A batch done: each order gets its result or its error, whatever becomes of the others."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import cast

import numpy as np
import torch

from vistok.evaluation.psnr import psnr
from vistok.grid_rules import crop, make_grid
from vistok.media.fitting import Fit, Prepared
from vistok.media.pixels import to_model, to_uint8
from vistok.tokenizer import VisualTokenizer
from vistok_protocol import media_types
from vistok_server.orders import (
    Computed,
    Decode,
    DecodePiece,
    Encoded,
    EncodePiece,
    Failed,
    OfArray,
    OfPicture,
    OfPiece,
    Order,
    Outcome,
    Quantize,
    Reconstruct,
    Reconstructed,
    Written,
)
from vistok_server.parts import Part
from vistok_server.settings import Settings
from vistok_server.workers.attempts import Attempts
from vistok_server.workers.device import Device
from vistok_server.workers.media import read_fitting, write_picture
from vistok_server.workers.media_threads import MediaThreads
from vistok_server.workers.memory import affordable_pixels
from vistok_server.workers.pieces import decode_piece, encode_piece
from vistok_server.workers.worker import Batch, Outcomes


class Executor:
    """Does batches with tokenizers that are loaded; media on threads of its own.

    Several batches may be done at a time, each on a thread: while the device has one, media of another are
    read.
    """

    def __init__(
        self, tokenizers: Mapping[str, VisualTokenizer], settings: Settings, media_threads: int
    ) -> None:
        self._tokenizers = tokenizers
        self._settings = settings
        self._media = MediaThreads(media_threads)
        self._turn = Lock()
        self._affordable_pixels: dict[str, float] = dict.fromkeys(tokenizers, math.inf)

    def execute(self, batch: Batch, is_forgotten: Callable[[int], bool] = lambda _: False) -> Outcomes:
        """Do the orders of a batch, which are all of one operation.

        Args:
            batch: the orders.
            is_forgotten: tells at any time whether nobody waits any more for the order at an index; such ones
                do not get to the device.

        Raises torch.AcceleratorError when the device fails, not the batch.
        """
        tokenizer = self._tokenizers[batch.tokenizer]
        attempts = Attempts(
            f"{batch.orders[0].operation} by {tokenizer.name}", self._affordable_pixels[tokenizer.name]
        )
        with torch.inference_mode():
            device = Device(self._turn, attempts, is_forgotten)
            execution = _Execution(tokenizer, self._settings, self._media, device, attempts)
            return Outcomes(execution.results(batch.orders), attempts.too_many_pixels)

    def warm_up(self) -> None:
        """Do each tokenizer's work once in both directions, so that no caller pays for what comes up once.

        From then on it is known how many pixels of each there is memory for.
        """
        for tokenizer in self._tokenizers.values():
            picture = np.zeros((2 * tokenizer.factor, 2 * tokenizer.factor, 3), np.uint8)
            if tokenizer.kind == "image":
                body = np.frombuffer(write_picture(picture, media_types.JPEG), np.uint8)
                order = Reconstruct(body, media_types.JPEG, Fit(), media_types.PNG)
                self.execute(Batch(tokenizer.name, [order]))
            tokenizer.describe()  # its fingerprint reads all weights
        for name, tokenizer in self._tokenizers.items():
            self._affordable_pixels[name] = affordable_pixels(tokenizer, self._settings.max_batch_bytes)


@dataclass(frozen=True)
class _Fitted:
    """A picture that the model can take, and the place of its order in the batch."""

    index: int
    picture: Prepared

    @property
    def pixels(self) -> int:
        rows, columns = self.picture.pixels.shape[:2]
        return rows * columns


class _Execution:
    def __init__(
        self,
        tokenizer: VisualTokenizer,
        settings: Settings,
        media: MediaThreads,
        device: Device,
        attempts: Attempts,
    ) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        self._media = media
        self._device = device
        self._attempts = attempts

    def results(self, orders: Sequence[Order]) -> list[Outcome]:
        match orders[0]:
            case OfPicture():
                return self._pictures(cast("Sequence[OfPicture]", orders))
            case Decode():
                return self._decoded(cast("Sequence[Decode]", orders))
            case OfPiece():
                pieces = cast("Sequence[EncodePiece | DecodePiece]", orders)
                return [self._piece(index, order) for index, order in enumerate(pieces)]
            case OfArray():
                return self._computed(cast("Sequence[OfArray]", orders))

    def _pictures(self, orders: Sequence[OfPicture]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for group in self._groups(orders, outcomes):
            arrays = [(fitted.index, fitted.picture.pixels[np.newaxis]) for fitted in group]
            found = self._device.joined(self._ids, arrays, group[0].pixels)
            for fitted, ids in zip(group, found, strict=True):
                outcomes[fitted.index] = self._answer(fitted, orders[fitted.index], ids)
        return [outcomes[index] for index in range(len(orders))]

    def _groups(self, orders: Sequence[OfPicture], outcomes: dict[int, Outcome]) -> Iterator[list[_Fitted]]:
        """Read pictures and give those of one shape together, no more at once than a batch may have."""
        waiting: dict[tuple[int, ...], list[_Fitted]] = {}
        pixels = 0
        for index, read in enumerate(self._media.map(self._read, orders)):
            if isinstance(read, Failed):
                outcomes[index] = read
                continue
            fitted = _Fitted(index, read)
            if waiting and pixels + fitted.pixels > self._settings.max_batch_pixels:
                yield from waiting.values()
                waiting, pixels = {}, 0
            waiting.setdefault(read.pixels.shape, []).append(fitted)
            pixels += fitted.pixels
        yield from waiting.values()

    def _read(self, order: OfPicture) -> Prepared | Failed:
        part = Part(order.body.tobytes(), order.media_type)
        return self._attempts.one(read_fitting, part, order.fit, self._tokenizer.factor, self._settings)

    def _answer(self, fitted: _Fitted, order: OfPicture, ids: np.ndarray | Failed) -> Outcome:
        if isinstance(ids, Failed):
            return ids
        if not isinstance(order, Reconstruct):
            return Encoded(ids[0], fitted.picture.size)
        (back,) = self._device.joined(self._decode, [(fitted.index, ids)], fitted.pixels)
        if isinstance(back, Failed):
            return back
        return self._attempts.one(self._reconstructed, order, fitted.picture, ids[0], back[0])

    def _reconstructed(
        self, order: Reconstruct, picture: Prepared, ids: np.ndarray, back: np.ndarray
    ) -> Outcome:
        shown = crop(back, picture.size)
        loss = psnr(crop(picture.pixels, picture.size), shown)
        grid = make_grid(self._tokenizer, ids, picture.size)
        return Reconstructed(_written(shown, order.answer_type), f"{loss:.2f}", grid.bits_per_pixel)

    def _decoded(self, orders: Sequence[Decode]) -> list[Outcome]:
        pixels = orders[0].ids.shape[0] * orders[0].ids.shape[1] * self._tokenizer.factor**2
        arrays = [(index, order.ids[np.newaxis]) for index, order in enumerate(orders)]
        pictures = self._device.joined(self._decode, arrays, pixels)
        return list(self._media.map(self._shown, zip(orders, pictures, strict=True)))

    def _shown(self, done: tuple[Decode, np.ndarray | Failed]) -> Outcome:
        order, picture = done
        return picture if isinstance(picture, Failed) else self._attempts.one(_write, order, picture[0])

    def _piece(self, index: int, order: EncodePiece | DecodePiece) -> Outcome:
        if isinstance(order, EncodePiece):
            return self._device.one(
                index, math.prod(order.frames.shape[1:3]), encode_piece, self._tokenizer, order
            )
        pixels = math.prod(order.ids.shape[1:3]) * self._tokenizer.factor**2
        return self._device.one(index, pixels, decode_piece, self._tokenizer, order)

    def _computed(self, orders: Sequence[OfArray]) -> list[Outcome]:
        run = self._quantize if isinstance(orders[0], Quantize) else self._look_up
        shape = orders[0].inputs.shape
        several = self._tokenizer.codebooks > 1
        space = shape[2:] if isinstance(orders[0], Quantize) else shape[1 : -1 if several else None]
        positions = math.prod(space)
        inputs = [(index, order.inputs) for index, order in enumerate(orders)]
        found = self._device.joined(run, inputs, positions * self._tokenizer.factor**2)
        return [values if isinstance(values, Failed) else Computed(values) for values in found]

    def _ids(self, pictures: np.ndarray) -> np.ndarray:
        return self._tokenizer.encode(to_model(pictures)).cpu().numpy()

    def _decode(self, ids: np.ndarray) -> np.ndarray:
        return to_uint8(self._tokenizer.decode(torch.from_numpy(ids)))

    def _quantize(self, features: np.ndarray) -> np.ndarray:
        return self._tokenizer.quantize(torch.from_numpy(features)).cpu().numpy()

    def _look_up(self, ids: np.ndarray) -> np.ndarray:
        return self._tokenizer.lookup(torch.from_numpy(ids)).cpu().float().numpy()


def _write(order: Decode, picture: np.ndarray) -> Outcome:
    return Written(_written(crop(picture, order.size), order.answer_type))


def _written(picture: np.ndarray, media_type: str) -> np.ndarray:
    return np.frombuffer(write_picture(picture, media_type), np.uint8)
