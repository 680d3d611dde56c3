"""Residual VQ: each layer has a table, searched with what those before it left over (arXiv:2107.03312)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import ABSENT, Quantized
from vistok.quantizers.gradients import directional
from vistok.quantizers.layouts import as_tokens, check_mask
from vistok.quantizers.precision import full_precision
from vistok.quantizers.residual.beam_search import beam_search
from vistok.quantizers.residual.depth_dropout import depth_dropout
from vistok.quantizers.residual.implicit_codebook import ImplicitCodebook
from vistok.quantizers.residual.stack import ResidualOutput, ResidualStack
from vistok.quantizers.residual.tables import Tables, learn_from_choice
from vistok.quantizers.vector.vector_quantize import VectorQuantize
from vistok_protocol.errors import ErrorCode, VistokError

# Of the noise by which DiVeQ turns the direction from features to codes.
_DIRECTION_VARIANCE = 5e-3


class ResidualVQ(ResidualStack):
    """A stack of `VectorQuantize` layers.

    Args:
        dim: channels of the features.
        num_quantizers: number of layers; may be left out where `codebook_size` has one entry for each.
        codebook_size: number of codes, of all layers or of each.
        codebook_dim: channels of a code; where it differs from `dim`, linear layers project in and out, once
            for the whole stack.
        shared_codebook: all layers use one table, which follows all of them together.
        diveq: pass gradients by DiVeQ (arXiv:2509.26469), once for the whole stack, with learned codebooks.
        heads: 1; a stack has no heads.
        quantize_dropout: train batches on the first layers only, their number being drawn.
        quantize_dropout_cutoff_index: index of the first layer after which that may happen.
        quantize_dropout_multiple_of: round the number of layers up to a multiple.
        accept_image_fmap: features are `(b d h w)` instead of `(b *space d)`.
        implicit_neural_codebook: tables depend on earlier choices, see `ImplicitCodebook`.
        mlp_kwargs: `dim_hidden` and `depth` of its networks.
        beam_size: partial choices that are followed when ids are chosen, see `beam_search`.
        eval_beam_size: the same in eval mode. Default: `beam_size`.
        beam_score_quantizer_weights: what each layer's error counts in this choice. Default: 1.
        quant_grad_frac: share of a layer's gradients that reaches the layers before it through the residual.
        return_zeros_for_masked_padding: False gives the input back where it was masked.
        arguments: of each layer, see `VectorQuantize`.
    """

    layers: Sequence[VectorQuantize]

    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int | None = None,
        codebook_size: int | Sequence[int],
        codebook_dim: int | None = None,
        shared_codebook: bool = False,
        diveq: bool = False,
        heads: int = 1,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        accept_image_fmap: bool = False,
        implicit_neural_codebook: bool = False,
        mlp_kwargs: dict[str, int] | None = None,
        beam_size: int | None = None,
        eval_beam_size: int | None = None,
        beam_score_quantizer_weights: Sequence[float] | None = None,
        quant_grad_frac: float = 0.0,
        return_zeros_for_masked_padding: bool = True,
        **arguments: Any,
    ) -> None:
        sizes = _sizes(codebook_size, num_quantizers)
        weights = [1.0] * len(sizes) if beam_score_quantizer_weights is None else beam_score_quantizer_weights
        several = max(beam_size or 1, eval_beam_size or 1) > 1
        _refuse(
            {
                "heads must be 1": heads != 1,
                "shared_codebook needs layers of one codebook_size": shared_codebook and len(set(sizes)) > 1,
                "eval_beam_size needs a beam_size": eval_beam_size is not None and beam_size is None,
                f"beam_score_quantizer_weights needs {len(sizes)} entries": len(weights) != len(sizes),
                "implicit_neural_codebook and beam_size exclude choosing codes at random": (
                    (implicit_neural_codebook or several)
                    and bool(arguments.get("stochastic_sample_codes") or arguments.get("straight_through"))
                ),
                "implicit_neural_codebook excludes use_cosine_sim": (
                    implicit_neural_codebook and bool(arguments.get("use_cosine_sim"))
                ),
            }
        )
        code_dim = dim if codebook_dim is None else codebook_dim
        # The stack arranges maps; its layers see tokens alone.
        is_map = accept_image_fmap or arguments.pop("accept_3d_fmap", False)
        is_first = not arguments.pop("channel_last", True)
        if shared_codebook:
            arguments |= {"manual_ema_update": True, "manual_in_place_optimizer_update": True}
        if implicit_neural_codebook or diveq:
            arguments |= {"learnable_codebook": True, "ema_update": False}
        if diveq:
            arguments |= {"route_gradients_to_input": False, "commitment_weight": 0.0}
        super().__init__(
            dim=dim,
            layers=[VectorQuantize(code_dim, size, codebook_dim=code_dim, **arguments) for size in sizes],
            dropout=depth_dropout(
                quantize_dropout, quantize_dropout_cutoff_index, quantize_dropout_multiple_of, len(sizes)
            ),
            channel_first=is_map or is_first,
        )
        self.accept_image_fmap = accept_image_fmap
        self.shared_codebook = shared_codebook
        self.diveq = diveq
        self.beam_size = beam_size
        self.eval_beam_size = beam_size if eval_beam_size is None else eval_beam_size
        self.beam_score_weights = tuple(weights)
        self.quant_grad_frac = 1.0 if diveq else quant_grad_frac
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        self.mlps = (
            nn.ModuleList(ImplicitCodebook(code_dim, **(mlp_kwargs or {})) for _ in sizes[1:])
            if implicit_neural_codebook
            else None
        )
        self._tables = Tables(self.layers, self.mlps)
        if shared_codebook:
            self._tables.share_first()

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        indices: Tensor | list[Tensor] | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        beam_size: int | None = None,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[Tensor, ...]:
        """Quantize `(b *space d)`, or `(b d h w)` with `accept_image_fmap`; any floating dtype.

        Args:
            mask: `(b *space)` bool; where False, indices are absent, codes zero, and training looks away.
            indices: wanted ids `(b *space q)`: the answer is `(quantized, cross entropy)`, see `_against`.
            return_all_codes: give a fourth entry, `get_codes_from_indices`.
            sample_codebook_temp: overrides the layers' own.
            freeze_codebook: training leaves the codebooks as they are.
            beam_size: overrides the constructor's.
            rand_quantize_dropout_fixed_seed: decides how many layers a training batch goes through.

        Returns:
            `ResidualOutput`, a tuple of four with `return_all_codes`, or of two with `indices`.
        """
        if indices is not None:
            wanted = torch.stack(indices) if isinstance(indices, list) else indices
            return self._against(x, wanted, mask)
        output = self._called(
            x,
            mask,
            return_all_codes,
            seed=rand_quantize_dropout_fixed_seed,
            temperature=sample_codebook_temp,
            frozen=freeze_codebook,
            beam_size=beam_size,
        )
        if mask is None or self.return_zeros_for_masked_padding:
            return output
        kept = torch.where(mask.unsqueeze(1 if self.channel_first else -1), output[0], x)
        if isinstance(output, ResidualOutput):
            return output._replace(quantized=kept)
        return (kept, *output[1:])

    def _handed_on(self, codes: Tensor) -> Tensor:
        constant = codes.detach()
        return constant + self.quant_grad_frac * (codes - constant) if self.quant_grad_frac > 0 else constant

    def _codes_of_layer(self, index: int, ids: Tensor, so_far: Tensor | None) -> Tensor:
        return self._tables.rows(index, ids, so_far)

    def _search(self, latents: Tensor, beam_size: int | None = None, **options: Any) -> tuple[Tensor, Tensor]:
        width = (self.eval_beam_size if beam_size is None else beam_size) or 1
        if width == 1 and self.mlps is None:
            return super()._search(latents)
        ids = self._chosen_together(latents, width, self.num_quantizers)
        return self._sum_of_codes(ids, None), ids

    def _train(
        self,
        latents: Tensor,
        mask: Tensor | None,
        depth: int,
        beam_size: int | None = None,
        frozen: bool = False,
        **options: Any,
    ) -> ResidualOutput:
        width = (self.beam_size if beam_size is None else beam_size) or 1
        # Tables that still wait for data have nothing to choose from; the first batch gives it to them.
        together = width > 1 and self._tables.are_ready()
        chosen = self._chosen_together(latents.detach(), width, depth) if together else None
        frozen = frozen or self.layers[0].freeze_codebook
        visited: list[Tensor] | None = [] if self.shared_codebook and not frozen else None
        codes, ids, losses = super()._train(
            latents, mask, depth, frozen=frozen, chosen=chosen, visited=visited, **options
        )
        if visited is not None:
            self._tables.follow_together(torch.stack(visited, dim=2), mask)
        if self.diveq:
            codes = directional(latents, codes, _DIRECTION_VARIANCE)
        return ResidualOutput(codes, ids, losses)

    def _train_layer(
        self,
        index: int,
        residual: Tensor,
        so_far: Tensor | None,
        mask: Tensor | None,
        temperature: float | None = None,
        frozen: bool = False,
        chosen: Tensor | None = None,
        visited: list[Tensor] | None = None,
        **options: Any,
    ) -> Quantized:
        if visited is not None:
            visited.append(residual.detach())
        layer = self.layers[index]
        if chosen is None and (self.mlps is None or so_far is None):
            # It chooses by itself, by its own arguments.
            return Quantized(
                *layer(residual, mask=mask, sample_codebook_temp=temperature, freeze_codebook=frozen)
            )
        if chosen is None and not frozen:
            self._tables.start(index, residual, mask)
        ids = self._tables.nearest(index, residual, so_far) if chosen is None else chosen[..., index]
        rows = self._tables.rows(index, ids, so_far)
        return learn_from_choice(layer, residual, rows, ids, mask, frozen)

    def _chosen_together(self, latents: Tensor, width: int, depth: int) -> Tensor:
        ids = beam_search(self._tables, latents.flatten(0, 1), width, self.beam_score_weights[:depth])
        return ids.unflatten(0, latents.shape[:2])

    def _against(self, x: Tensor, wanted: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give the codes of wanted ids `(b *space q)`, and the layers' summed cross entropy against them.

        A layer's logits are the distances to all of its codes, with their sign turned, from what the wanted
        codes of the layers before it leave over (NaturalSpeech 2, arXiv:2304.09116). Absent ids do not
        count. Nothing learns from it but what the gradients reach.
        """
        self._check_ids(wanted)
        tokens, layout = as_tokens(x, self.dim, self.channel_first)
        ids = wanted.reshape(*tokens.shape[:2], self.num_quantizers).long()
        if mask is not None:
            ids = ids.masked_fill(~check_mask(mask, layout).unsqueeze(-1), ABSENT)
        with full_precision(tokens.device):
            latents = self._enter(tokens)
            so_far, loss = torch.zeros_like(latents), latents.new_zeros(())
            layers = self._codes_layer_by_layer(ids.clamp(min=0), ids >= 0)
            for index, (_, with_this_layer) in enumerate(layers):
                logits = self._tables.logits(index, latents - so_far, so_far)
                loss = loss + functional.cross_entropy(
                    logits.flatten(0, 1), ids[..., index].flatten(), ignore_index=ABSENT
                )
                so_far = with_this_layer
            codes = self.project_out(so_far)
        return layout.codes(codes).to(x.dtype), loss


def _sizes(codebook_size: int | Sequence[int], layers: int | None) -> list[int]:
    sizes = [codebook_size] * (layers or 0) if isinstance(codebook_size, int) else list(codebook_size)
    if not sizes or (layers is not None and layers != len(sizes)):
        raise VistokError(
            ErrorCode.INVALID_REQUEST,
            "expected num_quantizers of at least 1, or one codebook_size for each layer, "
            f"got num_quantizers = {layers} and codebook_size = {codebook_size}",
        )
    return sizes


def _refuse(mistakes: dict[str, bool]) -> None:
    for rule, broken in mistakes.items():
        if broken:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"ResidualVQ: {rule}")
