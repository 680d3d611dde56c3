"""Channels in groups, each quantized by a residual stack of its own (HiFi-Codec, arXiv:2305.02765).

Calls answer with the group as the first axis, ids `(g b *space q)`; as every `Quantizer` with several ids per
token, `quantize_map` and `lookup` have one last axis `k = g q`: the first group's layers, then the second's.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.residual.depth_dropout import drawn_seed
from vistok.quantizers.residual.finite_scalar import ResidualFSQ, ResidualFSQOutput
from vistok.quantizers.residual.lookup_free import ResidualLFQ
from vistok.quantizers.residual.stack import ResidualStack, check_ranges
from vistok.quantizers.residual.vector import ResidualVQ
from vistok_protocol.errors import ErrorCode, VistokError


class Grouped(Quantizer):
    """Residual stacks side by side.

    Args:
        dim: channels of the features, a multiple of `groups`.
        groups: number of stacks.
        make: gives a stack for a number of channels.
        channel_first: see `Quantizer`.
    """

    codebook_axis = True
    rvqs: Sequence[Any]

    def __init__(
        self, dim: int, groups: int, make: Callable[[int], ResidualStack], channel_first: bool
    ) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"expected a dim that is a multiple of groups, got {dim} and {groups}",
            )
        stacks = [make(dim // groups) for _ in range(groups)]
        self.dim = dim
        self.groups = groups
        self.channel_first = channel_first
        self.codebook_sizes = stacks[0].codebook_sizes * groups
        self.vocabulary_size = max(self.codebook_sizes)
        self.ids_per_token = len(self.codebook_sizes)
        self.rvqs = nn.ModuleList(stacks)  # type: ignore[assignment]

    @property
    def codebook_size(self) -> int:
        """Number of codes of the first layer."""
        return self.codebook_sizes[0]

    @property
    def codebooks(self) -> Tensor:
        """The tables `(g q k d)` of layers of one size."""
        return torch.stack([stack.codebooks for stack in self.rvqs])

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give the stacks' `get_codes_from_indices`, `(g q b *space d)`, of indices as calls give them."""
        pairs = self._by_group(indices)
        return torch.stack([stack.get_codes_from_indices(ids) for stack, ids in pairs])

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Give what the call gave with these indices, in the layout of its input, in float32."""
        outputs = [stack.get_output_from_indices(ids) for stack, ids in self._by_group(indices)]
        return torch.cat(outputs, dim=self._channel_axis)

    @property
    def _channel_axis(self) -> int:
        return 1 if self.channel_first else -1

    def _by_group(self, indices: Tensor) -> list[tuple[Any, Tensor]]:
        if len(indices) != self.groups:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected indices (g b ... q) with g = {self.groups} groups, got {tuple(indices.shape)}",
            )
        return list(zip(self.rvqs, indices, strict=True))

    def _called(
        self, x: Tensor, wanted: Tensor | Sequence[Tensor] | None = None, **options: Any
    ) -> list[tuple[Tensor, ...]]:
        """Call every stack on its channels; in training all go through as many layers.

        Args:
            wanted: for each group the `indices` of the call.
        """
        if x.ndim < 2 or x.shape[self._channel_axis] != self.dim:
            pattern = "(b d ...)" if self.channel_first else "(b ... d)"
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected floating-point features {pattern} with d = {self.dim}, got {tuple(x.shape)}",
            )
        if self.training:
            options["rand_quantize_dropout_fixed_seed"] = drawn_seed(x.device)
        parts = x.chunk(self.groups, dim=self._channel_axis)
        if wanted is None:
            return [stack(part, **options) for stack, part in zip(self.rvqs, parts, strict=True)]
        calls = zip(self.rvqs, parts, wanted, strict=True)
        return [stack(part, indices=ids, **options) for stack, part, ids in calls]

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        seed = drawn_seed(tokens.device) if self.training else None
        parts = zip(self.rvqs, tokens.chunk(self.groups, dim=-1), strict=True)
        each = [stack._through_layers(part, mask, seed) for stack, part in parts]
        codes, ids, losses = zip(*each, strict=True)
        return Quantized(torch.cat(codes, dim=-1), torch.cat(ids, dim=-1), torch.stack(losses).sum())

    def _ids(self, tokens: Tensor) -> Tensor:
        parts = zip(self.rvqs, tokens.chunk(self.groups, dim=-1), strict=True)
        return torch.cat([stack._ids(part) for stack, part in parts], dim=-1)

    def _codes(self, ids: Tensor) -> Tensor:
        parts = zip(self.rvqs, ids.chunk(self.groups, dim=-1), strict=True)
        return torch.cat([stack._codes(part) for stack, part in parts], dim=-1)

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        parts = zip(self.rvqs, ids.chunk(self.groups, dim=-1), strict=True)
        return torch.cat([stack._codes_or_zeros(part) for stack, part in parts], dim=-1)

    def _check_ids(self, ids: Tensor) -> bool:
        some_absent = super()._check_ids(ids)
        check_ranges(ids, self.codebook_sizes)
        return some_absent


class GroupedOutput(NamedTuple):
    """What calling groups gives; with `return_all_codes` a fourth entry, each layer's codes, follows."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """`(g b *space q)` int64."""
    losses: Tensor
    """`(g q)`, zero in eval mode."""


class GroupedResidualVQ(Grouped):
    """`ResidualVQ` for groups of channels.

    Args:
        dim: channels of the features.
        groups: number of groups.
        accept_image_fmap: features are `(b d h w)` instead of `(b *space d)`.
        arguments: of each stack, see `ResidualVQ`.
    """

    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **arguments: Any
    ) -> None:
        def make(channels: int) -> ResidualStack:
            return ResidualVQ(dim=channels, accept_image_fmap=accept_image_fmap, **arguments)

        super().__init__(dim, groups, make, channel_first=accept_image_fmap)

    def forward(
        self,
        x: Tensor,
        indices: Tensor | Sequence[Tensor] | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Quantize as `ResidualVQ` does; with `indices` `(g b *space q)` give codes and a cross entropy."""
        outputs = self._called(
            x,
            indices,
            return_all_codes=return_all_codes,
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            mask=mask,
        )
        codes, *rest = zip(*outputs, strict=True)
        quantized = torch.cat(codes, dim=self._channel_axis)
        if indices is not None:
            return quantized, torch.stack(rest[0]).sum()
        return _joined(quantized, rest)


class GroupedResidualLFQ(Grouped):
    """`ResidualLFQ` for groups of channels.

    Args:
        dim: channels of the features.
        groups: number of groups.
        accept_image_fmap: features are `(b d *space)` instead of `(b *space d)`.
        arguments: of each stack, see `ResidualLFQ`.
    """

    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **arguments: Any
    ) -> None:
        def make(channels: int) -> ResidualStack:
            stack = ResidualLFQ(dim=channels, **arguments)
            stack.channel_first = accept_image_fmap
            return stack

        super().__init__(dim, groups, make, channel_first=accept_image_fmap)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_all_codes: bool = False
    ) -> tuple[Tensor, ...]:
        """Quantize as `ResidualLFQ` does."""
        codes, *rest = zip(*self._called(x, mask=mask, return_all_codes=return_all_codes), strict=True)
        return _joined(torch.cat(codes, dim=self._channel_axis), rest)


class GroupedResidualFSQ(Grouped):
    """`ResidualFSQ` for groups of channels.

    Args:
        dim: channels of the features.
        groups: number of groups.
        accept_image_fmap: features are `(b d *space)` instead of `(b *space d)`.
        arguments: of each stack, see `ResidualFSQ`; `is_channel_first` puts layers before space in indices.
    """

    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **arguments: Any
    ) -> None:
        channel_first = accept_image_fmap or arguments.get("is_channel_first", False)

        def make(channels: int) -> ResidualStack:
            stack = ResidualFSQ(dim=channels, **arguments)
            stack.channel_first = channel_first
            return stack

        super().__init__(dim, groups, make, channel_first=channel_first)

    def forward(self, x: Tensor, return_all_codes: bool = False) -> tuple[Tensor, ...]:
        """Quantize as `ResidualFSQ` does, with indices int32 `(g b *space q)` and no losses."""
        codes, *rest = zip(*self._called(x, return_all_codes=return_all_codes), strict=True)
        quantized = torch.cat(codes, dim=self._channel_axis)
        indices, *all_codes = (torch.stack(each) for each in rest)
        return (quantized, indices, *all_codes) if all_codes else ResidualFSQOutput(quantized, indices)


def _joined(quantized: Tensor, rest: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    indices, losses, *all_codes = (torch.stack(each) for each in rest)
    output = GroupedOutput(quantized, indices, losses)
    return (*output, *all_codes) if all_codes else output
