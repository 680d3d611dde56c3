"""The one owner of device and models: a thread that takes batches, runs them and answers each job."""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import numpy as np
import torch

from vistok.media.pixels import to_model, to_uint8
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.jobs import Job, Operation

logger = logging.getLogger(__name__)


class Worker:
    """Loads the tokenizers and runs batches until there are no more.

    Args:
        load: gives the tokenizers by name; called on the worker's thread.
        take_batch: waits for the next batch of running jobs; an empty one ends the worker.
        shrink_batches: told how many pixels were too much for the device's memory.
        torch_threads: threads of one torch operation; None leaves torch's own choice.
    """

    def __init__(
        self,
        load: Callable[[], Mapping[str, VisualTokenizer]],
        take_batch: Callable[[], list[Job]],
        shrink_batches: Callable[[int], None],
        torch_threads: int | None,
    ) -> None:
        self._load = load
        self._take_batch = take_batch
        self._shrink_batches = shrink_batches
        self._torch_threads = torch_threads
        self._thread = threading.Thread(target=self._live, name="vistok-worker", daemon=True)
        self.tokenizers: Future[Mapping[str, VisualTokenizer]] = Future()
        """Done when loading is; holds what went wrong if it failed."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs: a job put in the room now will be answered."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start loading; returns at once."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the last batch, after `take_batch` was told to give no more."""
        if self._thread.ident is not None:
            self._thread.join()

    def _live(self) -> None:
        try:
            tokenizers = self._load()
            for tokenizer in tokenizers.values():
                tokenizer.describe()  # its fingerprint reads all weights: once, before anybody waits for it
        except Exception as error:
            self.tokenizers.set_exception(error)
            return
        if self._torch_threads is not None:
            torch.set_num_threads(self._torch_threads)
        self.tokenizers.set_result(tokenizers)
        with torch.inference_mode():
            while batch := self._take_batch():
                self._answer(batch, tokenizers)

    def _answer(self, batch: list[Job], tokenizers: Mapping[str, VisualTokenizer]) -> None:
        """Give every job its result; a batch that fails is split until the bad job is alone."""
        try:
            outputs = _run(tokenizers[batch[0].tokenizer], batch)
        except Exception as error:
            failure = error.with_traceback(None)  # its frames would hold the tensors of the failed batch
            if not isinstance(error, VistokError):
                logger.warning("a batch of %d jobs failed: %r", len(batch), error)
        else:
            for job, output in zip(batch, outputs, strict=True):
                job.result.set_result(output)
            return
        if _is_out_of_memory(failure):
            self._shrink_batches(sum(job.pixels for job in batch))
            torch.cuda.empty_cache()
        if len(batch) == 1:
            batch[0].result.set_exception(_typed(failure, batch[0]))
            return
        middle = len(batch) // 2
        self._answer(batch[:middle], tokenizers)
        self._answer(batch[middle:], tokenizers)


def _run(tokenizer: VisualTokenizer, batch: list[Job]) -> list[np.ndarray]:
    inputs = np.concatenate([job.array for job in batch])
    outputs = _operate(tokenizer, batch[0].operation, inputs)
    if len(outputs) != len(inputs):
        raise RuntimeError(f"{tokenizer.name} gave {len(outputs)} results for {len(inputs)} items")
    ends = np.cumsum([len(job.array) for job in batch])
    return np.split(outputs, ends[:-1])


def _operate(tokenizer: VisualTokenizer, operation: Operation, inputs: np.ndarray) -> np.ndarray:
    match operation:
        case Operation.ENCODE:
            return tokenizer.encode(to_model(inputs)).cpu().numpy()
        case Operation.DECODE:
            return to_uint8(tokenizer.decode(torch.from_numpy(inputs)))
        case Operation.QUANTIZE:
            return tokenizer.quantize(torch.from_numpy(inputs)).cpu().numpy()
        case Operation.LOOKUP:
            return tokenizer.lookup(torch.from_numpy(inputs)).cpu().float().numpy()


def _is_out_of_memory(error: Exception) -> bool:
    # The allocator of CPU memory has no exception of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _typed(error: Exception, job: Job) -> VistokError:
    if isinstance(error, VistokError):
        return error
    if _is_out_of_memory(error):
        return VistokError(
            ErrorCode.TOO_LARGE,
            f"the device has not enough memory to {job.operation} {job.pixels} pixels; "
            "send a smaller picture, or ask for max_side",
        )
    return VistokError(ErrorCode.INTERNAL, f"{job.tokenizer} failed to {job.operation} this input")
