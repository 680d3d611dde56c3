"""The search of `nearest.py` as one CUDA kernel: scores live and die in registers, none is ever written.

A program takes a block of tokens, walks over the codes of its part of the codebook in blocks and keeps each
token's best score so far with its id. Where tokens are too few to fill the device the codebook is split in
parts, and the best of the parts is picked afterwards. Products and sums are float32, not the tensor cores'
TF32; a token's score is summed in one order whatever the split, so its id does not depend on its company.

Importing this module imports triton: only `nearest.py` does, when tokens first come on a CUDA device.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# 64 sums to each of 128 threads, 16 channels at a time in two stages: with more of any, registers spill.
# Chosen by what the compiler reports for capabilities 7.5 to 12.0, not by timing.
BLOCKS = {"TOKENS": 64, "CODES": 128, "CHANNELS": 16}
LAUNCH = {"num_warps": 4, "num_stages": 2}
# Two run on a multiprocessor at a time; twice as many even out the end.
_PROGRAMS_PER_PROCESSOR = 4
# What Triton compiles for.
_FIRST_CAPABILITY = (7, 0)


def can_launch() -> bool:
    """Whether kernels run here: Triton builds its launcher with a C compiler, which lean images lack."""
    try:
        triton.runtime.driver.active.get_current_target()
    except Exception:  # Of many kinds: no compiler, no headers, no driver.
        return False
    return torch.cuda.get_device_capability() >= _FIRST_CAPABILITY


def largest_score(tokens: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    """Give the ids `(n)` int64 of the largest `<token, code> + offset`; the lowest id wins ties.

    A score that is NaN never wins; a token with no other gets id 0. Arguments as of `nearest.largest_score`,
    all on one CUDA device.
    """
    count, dim = tokens.shape
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=tokens.device)
    part = _codes_per_part(count, len(codes), _processors(tokens.device))
    parts = triton.cdiv(len(codes), part)
    scores = tokens.new_empty(parts, count)
    ids = torch.empty(parts, count, dtype=torch.int64, device=tokens.device)
    grid = (triton.cdiv(count, BLOCKS["TOKENS"]), parts)
    tensors = (tokens.contiguous(), codes.contiguous(), offsets.contiguous(), scores, ids)
    # Triton launches on the current device, whatever the tensors are on.
    with torch.cuda.device_of(tokens):
        largest_score_kernel[grid](*tensors, count, len(codes), part, DIM=dim, **BLOCKS, **LAUNCH)
    return ids[0] if parts == 1 else _best_of_parts(scores, ids)


def _codes_per_part(count: int, codes: int, processors: int) -> int:
    """Give how many codes, whole blocks of them, a program walks over."""
    wanted = triton.cdiv(processors * _PROGRAMS_PER_PROCESSOR, triton.cdiv(count, BLOCKS["TOKENS"]))
    return triton.cdiv(triton.cdiv(codes, wanted), BLOCKS["CODES"]) * BLOCKS["CODES"]


def _processors(device: torch.device) -> int:
    # On the CPU the kernel runs in Triton's interpreter, one program after the other.
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _best_of_parts(scores: Tensor, ids: Tensor) -> Tensor:
    # Of equal maxima argmax takes the first, which is of the part with the lower ids.
    return ids.gather(0, scores.argmax(dim=0, keepdim=True)).squeeze(0)


# Compiled once for each number of channels, not again for counts that happen to be 1 or multiples of 16.
@triton.jit(do_not_specialize=["count", "codebook", "part"])  # type: ignore[untyped-decorator]
def largest_score_kernel(  # type: ignore[no-untyped-def]
    tokens_at,
    codes_at,
    offsets_at,
    scores_at,
    ids_at,
    count,
    codebook,
    part,
    DIM: tl.constexpr,  # noqa: N803
    TOKENS: tl.constexpr,  # noqa: N803
    CODES: tl.constexpr,  # noqa: N803
    CHANNELS: tl.constexpr,  # noqa: N803
):
    """Write the largest score of each token in one part of the codebook, and its id: `(parts count)` each."""
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    first = tl.program_id(1) * part
    best = tl.full([TOKENS], float("-inf"), tl.float32)
    ids = tl.zeros([TOKENS], tl.int32)
    for start in range(first, tl.minimum(first + part, codebook), CODES):
        columns = start + tl.arange(0, CODES)
        products = tl.zeros([TOKENS, CODES], tl.float32)
        for channel in range(0, DIM, CHANNELS):
            channels = channel + tl.arange(0, CHANNELS)
            # Places are int64: a large codebook has more numbers than int32 counts.
            token_places = rows[:, None].to(tl.int64) * DIM + channels[None, :]
            code_places = columns[None, :].to(tl.int64) * DIM + channels[:, None]
            tokens = tl.load(
                tokens_at + token_places, mask=(rows[:, None] < count) & (channels[None, :] < DIM), other=0.0
            )
            codes = tl.load(
                codes_at + code_places,
                mask=(columns[None, :] < codebook) & (channels[:, None] < DIM),
                other=0.0,
            )
            products = tl.dot(tokens, codes, products, input_precision="ieee")
        offsets = tl.load(offsets_at + columns, mask=columns < codebook, other=float("-inf"))
        scores = products + offsets[None, :]
        best_here = tl.max(scores, axis=1)
        ids_here = tl.min(tl.where(scores == best_here[:, None], columns[None, :], codebook), axis=1)
        # Blocks come in the order of ids: an equal score later on does not win.
        is_better = best_here > best
        best = tl.where(is_better, best_here, best)
        ids = tl.where(is_better, ids_here, ids)
    places = tl.program_id(1).to(tl.int64) * count + rows
    tl.store(scores_at + places, best, mask=rows < count)
    tl.store(ids_at + places, ids.to(tl.int64), mask=rows < count)
