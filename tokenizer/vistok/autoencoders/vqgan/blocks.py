"""What VQGANs are made of; names of weights are those of the first one, which most of the field kept."""

from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

_GROUPS = 32
_EPSILON = 1e-6


class Normalization(nn.GroupNorm):
    """Normalize groups of channels over the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__(_GROUPS, channels, eps=_EPSILON)

    def forward(self, features: Tensor, codes: Tensor | None = None) -> Tensor:
        """Keep the shape, whatever the codes."""
        return super().forward(features)


class ModulatedNormalization(nn.Module):
    """Normalize, then scale and shift each position of `(b c h w)` by the code `(b d h' w')` at its place."""

    def __init__(self, channels: int, code_channels: int) -> None:
        super().__init__()
        self.norm_layer = Normalization(channels)
        self.conv_y = convolution(code_channels, channels, kernel=1)
        self.conv_b = convolution(code_channels, channels, kernel=1)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Keep the shape of the features."""
        codes = functional.interpolate(codes, features.shape[-2:], mode="nearest")
        return self.norm_layer(features) * self.conv_y(codes) + self.conv_b(codes)


def normalization(channels: int, code_channels: int | None = None) -> Normalization | ModulatedNormalization:
    """Normalize; by the codes, where there are any to do so."""
    if code_channels is None:
        return Normalization(channels)
    return ModulatedNormalization(channels, code_channels)


def convolution(channels_in: int, channels_out: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """Keep the size."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias)


class ResidualBlock(nn.Module):
    """`(b channels_in h w)` to `(b channels_out h w)`; with `code_channels`, normalized by the codes."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        bias: bool,
        shortcut: Literal["input", "result"],
        code_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = normalization(channels_in, code_channels)
        self.conv1 = convolution(channels_in, channels_out, bias=bias)
        self.norm2 = normalization(channels_out, code_channels)
        self.conv2 = convolution(channels_out, channels_out, bias=bias)
        self._adds_result = shortcut == "result"
        self.nin_shortcut: nn.Conv2d | None = None
        if channels_in != channels_out:
            added = channels_out if self._adds_result else channels_in
            self.nin_shortcut = convolution(added, channels_out, kernel=1, bias=bias)

    def forward(self, features: Tensor, codes: Tensor | None = None) -> Tensor:
        """Add what two convolutions find."""
        result = self.conv1(functional.silu(self.norm1(features, codes)))
        result = self.conv2(functional.silu(self.norm2(result, codes)))
        if self.nin_shortcut is None:
            return features + result
        return self.nin_shortcut(result if self._adds_result else features) + result


class AttentionBlock(nn.Module):
    """Attention with one head over all positions of `(b c h w)`."""

    def __init__(self, channels: int, code_channels: int | None = None) -> None:
        super().__init__()
        self.norm = normalization(channels, code_channels)
        self.q, self.k, self.v, self.proj_out = (convolution(channels, channels, kernel=1) for _ in range(4))

    def forward(self, features: Tensor, codes: Tensor | None = None) -> Tensor:
        """Keep the shape."""
        normalized = self.norm(features, codes)
        query, key, value = (layer(normalized).flatten(2).mT for layer in (self.q, self.k, self.v))
        found = functional.scaled_dot_product_attention(query, key, value)
        return features + self.proj_out(found.mT.reshape(features.shape))


class Downsample(nn.Module):
    """Half the size, by a convolution."""

    def __init__(self, channels: int, padding: Literal["padded_after", "padded_around"]) -> None:
        super().__init__()
        self._pads_after = padding == "padded_after"
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if self._pads_after else 1)

    def forward(self, features: Tensor) -> Tensor:
        """Give `(b c h/2 w/2)`."""
        return self.conv(functional.pad(features, (0, 1, 0, 1)) if self._pads_after else features)


class Upsample(nn.Module):
    """Twice the size, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Give `(b c 2h 2w)`."""
        return self.conv(functional.interpolate(features, scale_factor=2, mode="nearest"))


class DepthToSpace(nn.Module):
    """Twice the size, by a convolution whose channels become a block of two by two pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = convolution(channels, 4 * channels)

    def forward(self, features: Tensor) -> Tensor:
        """Give `(b c 2h 2w)`; unlike in `pixel_shuffle`, channels of one place in the block lie together."""
        blocks = self.conv(features).unflatten(1, (2, 2, -1))  # b rows columns c h w
        return blocks.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)


class AdaptiveNormalization(nn.Module):
    """Scale and shift by what all codes of the picture are like, as in Open-MAGVIT2 (arXiv:2409.04410)."""

    def __init__(self, channels: int, code_channels: int) -> None:
        super().__init__()
        self._norm = nn.GroupNorm(_GROUPS, channels, eps=_EPSILON, affine=False)
        self.gamma = nn.Linear(code_channels, channels)
        self.beta = nn.Linear(code_channels, channels)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Keep the shape `(b c h w)`; codes are `(b d h w)` of another size."""
        flat = codes.flatten(2)
        scale = self.gamma((flat.var(dim=2) + _EPSILON).sqrt())
        shift = self.beta(flat.mean(dim=2))
        return torch.addcmul(shift[..., None, None], self._norm(features), scale[..., None, None])
