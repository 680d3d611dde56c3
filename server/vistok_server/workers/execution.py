"""A batch run on a device: each job gets its array or its error, whatever the others do."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vistok.media.pixels import to_model, to_uint8
from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.jobs import Operation
from vistok_server.workers.worker import Outcomes

logger = logging.getLogger(__name__)


def execute(
    tokenizer: VisualTokenizer, operation: Operation, inputs: np.ndarray, counts: Sequence[int]
) -> Outcomes:
    """Give every job its result; a batch that fails is split until the bad job is alone.

    Raises torch.AcceleratorError when the device fails, not the batch.

    Args:
        tokenizer: the one that the batch is for.
        operation: says what the inputs are.
        inputs: the arrays of the jobs, joined along the leading axis.
        counts: how many items of that axis belong to each job.
    """
    with torch.inference_mode():
        return _outcomes(tokenizer, operation, inputs, counts)


def warm_up(tokenizers: Mapping[str, VisualTokenizer]) -> None:
    """Run each tokenizer once in both directions, so that no caller pays for what comes up once."""
    for tokenizer in tokenizers.values():
        side = 2 * tokenizer.factor
        tokenizer.decode(tokenizer.encode(torch.zeros(1, 3, side, side)))
        tokenizer.describe()  # its fingerprint reads all weights


@dataclass(frozen=True)
class _Failure:
    error: VistokError
    is_out_of_memory: bool


def _outcomes(
    tokenizer: VisualTokenizer, operation: Operation, inputs: np.ndarray, counts: Sequence[int]
) -> Outcomes:
    outputs = _attempt(tokenizer, operation, inputs)
    if not isinstance(outputs, _Failure):
        return Outcomes(np.split(outputs, np.cumsum(counts)[:-1]), None)
    too_many = len(inputs) if outputs.is_out_of_memory else None
    if len(counts) == 1:
        return Outcomes([outputs.error], too_many)
    middle = len(counts) // 2
    items = sum(counts[:middle])
    first = _outcomes(tokenizer, operation, inputs[:items], counts[:middle])
    second = _outcomes(tokenizer, operation, inputs[items:], counts[middle:])
    limits = [limit for limit in (too_many, first.too_many_items, second.too_many_items) if limit is not None]
    return Outcomes([*first.results, *second.results], min(limits, default=None))


def _attempt(tokenizer: VisualTokenizer, operation: Operation, inputs: np.ndarray) -> np.ndarray | _Failure:
    try:
        outputs = _operate(tokenizer, operation, inputs)
        if len(outputs) != len(inputs):
            raise RuntimeError(f"{tokenizer.name} gave {len(outputs)} results for {len(inputs)} items")
        return outputs
    except VistokError as error:
        return _Failure(error, is_out_of_memory=False)
    except torch.AcceleratorError:
        raise  # the device is of no use any more to this process: another one has to take over
    except Exception as error:
        logger.warning("a batch of %d items failed: %r", len(inputs), error)
        if _is_out_of_memory(error):
            torch.cuda.empty_cache()
            return _Failure(_too_large(operation), is_out_of_memory=True)
        detail = f"{tokenizer.name} failed to {operation} this input"
        return _Failure(VistokError(ErrorCode.INTERNAL, detail), is_out_of_memory=False)


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


def _too_large(operation: Operation) -> VistokError:
    return VistokError(
        ErrorCode.TOO_LARGE,
        f"the device has not enough memory to {operation} this; send a smaller picture, or ask for max_side",
    )
