"""How gradients pass a quantizer: straight through, or turned by the rotation that maps input to code.

Both leave the forward value exactly the code, so that what a decoder is trained on is bit for bit
what `lookup` gives it later.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor


def straight_through(inputs: Tensor, codes: Tensor) -> Tensor:
    """Value of `codes`, gradient of the identity on `inputs` (Bengio et al., arXiv:1308.3432)."""
    return codes.detach() + (inputs - inputs.detach())


def rotate_to(inputs: Tensor, codes: Tensor) -> Tensor:
    """Value of `codes`, gradient of the rotation and scaling that turn `inputs` into them.

    The rotation trick (Fifty et al., arXiv:2410.06424), over the last axis, in Householder form.
    """
    epsilon = 1e-6
    input_norm = inputs.norm(dim=-1, keepdim=True)
    code_norm = codes.norm(dim=-1, keepdim=True)
    source = (inputs / input_norm.clamp(min=epsilon)).detach()
    target = (codes / code_norm.clamp(min=epsilon)).detach()
    middle = functional.normalize(source + target, dim=-1, eps=epsilon)
    scale = (code_norm / input_norm.clamp(min=epsilon)).detach()
    along_middle = (inputs * middle).sum(dim=-1, keepdim=True)
    along_source = (inputs * source).sum(dim=-1, keepdim=True)
    rotated = (inputs - 2 * along_middle * middle + 2 * along_source * target) * scale
    return straight_through(rotated, codes)


def directional(inputs: Tensor, codes: Tensor, variance: float) -> Tensor:
    """Move inputs by their distance to the codes in the codes' direction, made a little noisy.

    DiVeQ (Vali et al., arXiv:2509.26469): the value is near the code, not on it; gradients reach inputs
    and, through the distance, codes. Over the last axis; `variance` is that of the noise on each channel.
    """
    error = codes - inputs
    noisy = error.detach() + variance**0.5 * torch.randn_like(error)
    return inputs + functional.normalize(noisy, dim=-1) * error.norm(dim=-1, keepdim=True)
