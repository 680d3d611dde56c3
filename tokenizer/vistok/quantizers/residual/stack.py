"""Layers that each quantize what the layers before them left over (SoundStream, arXiv:2107.03312).

    r_0 = project_in(x)      r_{q+1} = r_q - code_q(r_q)      codes = project_out(code_0 + code_1 + ...)

The first ids alone are a coarser description: they decode, and a layer whose id is absent adds nothing.
Letters: `q` layers, `b n d` tokens. A family brings its layers and says how one of them is used.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import ABSENT, Quantized, Quantizer, masked
from vistok.quantizers.layouts import as_tokens, check_mask
from vistok.quantizers.precision import full_precision, projections
from vistok.quantizers.residual.depth_dropout import DepthDropout, drawn_seed
from vistok_protocol.errors import ErrorCode, VistokError


class ResidualOutput(NamedTuple):
    """What a stack makes of features; with `return_all_codes` a fourth entry follows, each layer's codes."""

    quantized: Tensor
    """As the input: the sum of what the layers gave."""
    indices: Tensor
    """`(b *space q)` int64, absent where training left a layer out."""
    losses: Tensor
    """`(q)`, zero in eval mode and for layers left out."""


class ResidualStack(Quantizer):
    """A stack of layers, each with one id per token.

    Args:
        dim: channels of the features; linear layers project where the layers have another number.
        layers: quantizers of the same `dim`.
        dropout: how training leaves out the last layers; None: it does not.
        channel_first: see `Quantizer`.
    """

    codebook_axis = True
    layers: Sequence[Quantizer]

    def __init__(
        self,
        dim: int,
        layers: Sequence[Quantizer],
        dropout: DepthDropout | None,
        channel_first: bool | None,
    ) -> None:
        super().__init__()
        if not layers or any(layer.codebook_axis for layer in layers):
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                "a residual stack needs at least one layer, and layers that give one id per token, "
                + ("got layers that give several" if layers else "got num_quantizers = 0"),
            )
        self.dim = dim
        self.codebook_dim = layers[0].dim
        self.codebook_sizes = tuple(layer.vocabulary_size for layer in layers)
        self.vocabulary_size = max(self.codebook_sizes)
        self.ids_per_token = self.num_quantizers = len(layers)
        self.dropout = dropout
        self.channel_first = channel_first
        self.project_in, self.project_out = projections(dim, self.codebook_dim)
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]

    @property
    def codebook_size(self) -> int:
        """Number of codes of the first layer."""
        return self.codebook_sizes[0]

    @property
    def codebooks(self) -> Any:
        """The layers' tables `(q k d)`, before any projection out; a tuple where their sizes differ."""
        tables = tuple(_table(layer) for layer in self.layers)
        return torch.stack(tables) if len(set(self.codebook_sizes)) == 1 else tables

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give each layer's codes `(q b *space d)` float32, before any projection out, of ids `(b *space q)`.

        Absent ids and missing last layers give zeros.
        """
        ids = self._with_all_columns(indices)
        self._check_ids(ids)
        flat = ids.reshape(ids.shape[0], -1, self.num_quantizers).long()
        with full_precision(ids.device):
            layers = self._codes_layer_by_layer(flat.clamp(min=0), flat >= 0)
            codes = torch.stack([codes for codes, _ in layers])
        return codes.reshape(self.num_quantizers, *ids.shape[:-1], self.codebook_dim)

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Give what calling the stack gave with these indices, in the layout of its input, in float32."""
        return self._looked_up(indices, self.channel_first)

    # What a family may say about its layers.

    def _enter(self, tokens: Tensor) -> Tensor:
        """Give the first residual `(b n d)` of tokens."""
        return self.project_in(tokens)

    def _codes_of_layer(self, index: int, ids: Tensor, so_far: Tensor | None) -> Tensor:
        """Give a layer's codes `(b n d)` of its ids `(b n)`; `so_far` is the sum of the layers before it."""
        return self.layers[index]._codes(ids)

    def _search_layer(self, index: int, residual: Tensor, so_far: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give a layer's codes and ids of a residual, without learning from it."""
        layer = self.layers[index]
        if layer.training:
            ids = layer._ids(residual)
            return self._codes_of_layer(index, ids, so_far), ids
        codes, ids, _ = layer._quantize(residual, None)
        return codes, ids

    def _train_layer(
        self, index: int, residual: Tensor, so_far: Tensor | None, mask: Tensor | None, **options: Any
    ) -> Quantized:
        """Give what a layer makes of a residual in training, with gradients and its loss."""
        return self.layers[index]._quantize(residual, mask)

    def _handed_on(self, codes: Tensor) -> Tensor:
        """Give the codes as the next residual lacks them; their gradients stay with their own layer."""
        return codes.detach()

    # The passes through the layers.

    def _through_layers(
        self, tokens: Tensor, mask: Tensor | None, seed: int | None = None, **options: Any
    ) -> ResidualOutput:
        """Quantize tokens `(b n d)`; the seed, where given, decides how many layers training goes through."""
        with full_precision(tokens.device):
            latents = self._enter(tokens)
            if self.training:
                depth = self._depth(tokens.device, seed)
                codes, ids, losses = self._train(latents, mask, depth, **options)
            else:
                codes, ids = self._search(latents, **options)
                losses = codes.new_zeros(self.num_quantizers)
            return ResidualOutput(self.project_out(codes), ids, losses)

    def _search(self, latents: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """Give the summed codes `(b n d)` and ids `(b n q)`, learning and keeping nothing else."""
        codes, ids = self._search_layer(0, latents, None)
        residual, total, columns = latents, codes, [ids]
        for index in range(1, self.num_quantizers):
            residual = residual - codes
            codes, ids = self._search_layer(index, residual, total)
            total = total + codes
            columns.append(ids)
        return total, torch.stack(columns, dim=-1)

    def _train(self, latents: Tensor, mask: Tensor | None, depth: int, **options: Any) -> ResidualOutput:
        """Give codes with gradients, ids and losses of the first `depth` layers, which learn."""
        codes, ids, loss = self._train_layer(0, latents, None, mask, **options)
        residual, total, columns, losses = latents, codes, [ids], [loss]
        for index in range(1, depth):
            residual = residual - self._handed_on(codes)
            codes, ids, loss = self._train_layer(index, residual, total, mask, **options)
            total = total + codes
            columns.append(ids)
            losses.append(loss)
        left_out = self.num_quantizers - depth
        return ResidualOutput(
            total,
            functional.pad(torch.stack(columns, dim=-1), (0, left_out), value=ABSENT),
            functional.pad(torch.stack(losses), (0, left_out)),
        )

    def _depth(self, device: torch.device, seed: int | None) -> int:
        if self.dropout is None:
            return self.num_quantizers
        return self.dropout.depth(self.num_quantizers, drawn_seed(device) if seed is None else seed)

    def _codes_layer_by_layer(self, ids: Tensor, present: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the codes of each column of ids `(b n q)`, and their sum so far, in the order of encoding."""
        so_far = None
        for index in range(ids.shape[-1]):
            codes = self._codes_of_column(index, ids, present, so_far)
            so_far = codes if so_far is None else so_far + codes
            yield codes, so_far

    def _sum_of_codes(self, ids: Tensor, present: Tensor | None) -> Tensor:
        total = self._codes_of_column(0, ids, present, None)
        for index in range(1, ids.shape[-1]):
            total = total + self._codes_of_column(index, ids, present, total)
        return total

    def _codes_of_column(
        self, index: int, ids: Tensor, present: Tensor | None, so_far: Tensor | None
    ) -> Tensor:
        codes = self._codes_of_layer(index, ids[..., index], so_far)
        return codes if present is None else codes * present[..., index, None]

    # What the base asks for.

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        codes, ids, losses = self._through_layers(tokens, mask)
        return Quantized(codes, ids, losses.sum())

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._search(self._enter(tokens))[1]

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            return self.project_out(self._sum_of_codes(ids, None))

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        present = ids >= 0
        with full_precision(ids.device):
            codes = self.project_out(self._sum_of_codes(ids.clamp(min=0), present))
        return codes * present.any(dim=-1, keepdim=True)

    def _looked_up(self, ids: Tensor, channel_first: bool | None) -> Tensor:
        return super()._looked_up(self._with_all_columns(ids), channel_first)

    def _check_ids(self, ids: Tensor) -> bool:
        some_absent = super()._check_ids(ids)
        check_ranges(ids, self.codebook_sizes)
        return some_absent

    def _with_all_columns(self, ids: Tensor) -> Tensor:
        """Complete the ids of the first layers with absent ones."""
        missing = self.num_quantizers - ids.shape[-1] if ids.ndim > 1 else 0
        return functional.pad(ids, (0, missing), value=ABSENT) if 0 < missing < self.num_quantizers else ids

    def _called(
        self, features: Tensor, mask: Tensor | None, return_all_codes: bool, **options: Any
    ) -> tuple[Tensor, ...]:
        """Do what calling a stack does, in the layout and dtype of the features."""
        output = self._stacked(features, mask, **options)
        return (*output, self.get_codes_from_indices(output.indices)) if return_all_codes else output

    def _stacked(self, features: Tensor, mask: Tensor | None, **options: Any) -> ResidualOutput:
        tokens, layout = as_tokens(features, self.dim, self.channel_first)
        if mask is not None:
            mask = check_mask(mask, layout)
        codes, ids, losses = self._through_layers(tokens, mask, **options)
        if mask is not None:
            codes, ids = masked(codes, ids, mask)
        return ResidualOutput(layout.codes(codes).to(features.dtype), layout.ids(ids), losses)


def _table(layer: Any) -> Tensor:
    device = next(chain(layer.parameters(), layer.buffers())).device
    return layer._codes(torch.arange(layer.vocabulary_size, device=device)[None])[0]


def check_ranges(ids: Tensor, sizes: Sequence[int]) -> None:
    """Refuse ids `(... k)`, of codebooks of different sizes, that are too large for their own."""
    if len(set(sizes)) == 1 or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    for column, (size, codebook_ids) in enumerate(zip(sizes, ids.unbind(dim=-1), strict=True)):
        largest = int(codebook_ids.max())
        if largest >= size:
            raise VistokError(
                ErrorCode.ID_OUT_OF_RANGE,
                f"expected ids of codebook {column} from 0 to {size - 1}, or {ABSENT} for none, "
                f"got {largest}",
            )
