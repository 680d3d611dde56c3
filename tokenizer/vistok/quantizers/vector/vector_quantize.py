"""VQ: the id is the number of the nearest code in a learned table (van den Oord et al., arXiv:1711.00937).

    id = argmin_k |x - e_k|,   code = e_id

Here is the front, from features to ids and back; behind it are the table (`codebook.py`), heads (`heads.py`)
and what happens in training (`training.py`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vistok.quantizers.base import Quantized, Quantizer, masked
from vistok.quantizers.gradients import directional, rotate_to, straight_through
from vistok.quantizers.layouts import Layout, as_tokens, check_mask, mask_of_lengths
from vistok.quantizers.precision import Float32LayerNorm, full_precision, projections
from vistok.quantizers.vector.codebook import AffineCodebook, Codebook
from vistok.quantizers.vector.heads import Heads
from vistok.quantizers.vector.learning import Learning, UpdateWeight
from vistok.quantizers.vector.regularization import LossBreakdown, Regularization, cross_entropy
from vistok.quantizers.vector.sampling import Sampling
from vistok.quantizers.vector.training import Call, CodebookTraining
from vistok_protocol.errors import ErrorCode, VistokError


class VectorQuantizeOutput(NamedTuple):
    """What calling a `VectorQuantize` gives."""

    quantized: Tensor
    """As the input; with `topk` one more axis before the channels of a sequence, or at the end of a map."""
    indices: Tensor
    """int64, the input's shape without its channel axis; then heads, or `topk`, best first."""
    loss: Tensor
    """Scalar, zero in eval mode; with `topk` one for each index, in both modes."""


class VectorQuantizeOutputWithTerms(NamedTuple):
    """The same, with the loss's terms."""

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    breakdown: LossBreakdown


class VectorQuantize(Quantizer):
    """Vector quantization with a codebook that follows the data or is learned by gradients.

    Args:
        dim: channels of the features.
        codebook_size: number of codes.
        codebook_dim: channels of a code; unless it is `dim / heads`, linear layers project in and out.
        heads, separate_codebook_per_head: split the vector in parts, each with an id; see `Heads`.
        decay, eps, kmeans_iters, ema_update, manual_ema_update, sync_codebook, sync_kmeans: see `Learning`.
        threshold_ema_dead_code: codes with a smaller averaged count are replaced by vectors of the batch.
        freeze_codebook: training leaves the codebook as it is.
        kmeans_init: start from k-means on the first batch seen in training.
        use_cosine_sim: choose by angle; codes have unit length.
        layernorm_after_project_in: a LayerNorm after the projection, where there is one.
        channel_last: read three-axis inputs as `(b n d)`; False: `(b d n)`.
        accept_image_fmap, accept_3d_fmap: read inputs as `(b d h w)`, `(b d t h w)`.
        commitment_weight, commitment_use_cross_entropy_loss, orthogonal_reg_weight,
        orthogonal_reg_active_codes_only, orthogonal_reg_max_codes, codebook_diversity_loss_weight,
        codebook_diversity_temperature: see `Regularization`.
        stochastic_sample_codes, sample_codebook_temp, straight_through: see `Sampling`.
        rotation_trick: pass gradients by rotation, the default; otherwise straight through.
        directional_reparam, directional_reparam_variance: pass gradients by DiVeQ, with a learned codebook.
        learnable_codebook: the codes are a parameter, for an optimizer; excludes `ema_update`.
        vq_bridge: a module that maps the table before it is used; implies a learned codebook.
        in_place_codebook_optimizer: makes an optimizer that steps on the codes at every call in training.
        manual_in_place_optimizer_update: it steps when `update_in_place_optimizer` is called.
        affine_param, sync_affine_param, affine_param_batch_decay, affine_param_codebook_decay: see
            `AffineCodebook`.
        sync_update_v: how far codes take the gradients of what is decoded from them, in [0, 1].
        return_zeros_for_masked_padding: False gives the input back where it was masked.
        route_gradients_to_input: False leaves the features without gradients of the decoded codes.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        heads: int = 1,
        separate_codebook_per_head: bool = False,
        decay: float = 0.8,
        eps: float = 1e-5,
        freeze_codebook: bool = False,
        kmeans_init: bool = False,
        kmeans_iters: int = 10,
        sync_kmeans: bool = True,
        use_cosine_sim: bool = False,
        layernorm_after_project_in: bool = False,
        threshold_ema_dead_code: float = 0,
        channel_last: bool = True,
        accept_image_fmap: bool = False,
        accept_3d_fmap: bool = False,
        commitment_weight: float = 1.0,
        commitment_use_cross_entropy_loss: bool = False,
        orthogonal_reg_weight: float = 0.0,
        orthogonal_reg_active_codes_only: bool = False,
        orthogonal_reg_max_codes: int | None = None,
        codebook_diversity_loss_weight: float = 0.0,
        codebook_diversity_temperature: float = 100.0,
        stochastic_sample_codes: bool = False,
        sample_codebook_temp: float = 1.0,
        straight_through: bool = False,
        rotation_trick: bool | None = None,
        directional_reparam: bool = False,
        directional_reparam_variance: float = 5e-3,
        sync_codebook: bool | None = None,
        sync_affine_param: bool = False,
        ema_update: bool | None = None,
        vq_bridge: nn.Module | None = None,
        manual_ema_update: bool = False,
        learnable_codebook: bool | None = None,
        in_place_codebook_optimizer: Callable[..., Optimizer] | None = None,
        manual_in_place_optimizer_update: bool = False,
        affine_param: bool = False,
        affine_param_batch_decay: float = 0.99,
        affine_param_codebook_decay: float = 0.9,
        sync_update_v: float = 0.0,
        return_zeros_for_masked_padding: bool = True,
        route_gradients_to_input: bool = True,
    ) -> None:
        super().__init__()
        by_gradient = directional_reparam or vq_bridge is not None
        self.learnable_codebook = by_gradient if learnable_codebook is None else learnable_codebook
        follows = not self.learnable_codebook if ema_update is None else ema_update
        if rotation_trick is None:
            rotation_trick = dim > 1 and not (directional_reparam or straight_through)
        _refuse(
            {
                "use_cosine_sim excludes a learned codebook": use_cosine_sim and self.learnable_codebook,
                "use_cosine_sim excludes affine_param": use_cosine_sim and affine_param,
                "ema_update excludes a learned codebook": follows and self.learnable_codebook,
                "vq_bridge needs a learned codebook": vq_bridge is not None and not self.learnable_codebook,
                "vq_bridge excludes affine_param": vq_bridge is not None and affine_param,
                "sync_update_v needs a learned codebook": sync_update_v > 0 and not self.learnable_codebook,
                "sync_update_v must be from 0 to 1": not 0 <= sync_update_v <= 1,
                "at most one of straight_through, rotation_trick and directional_reparam": (
                    straight_through + rotation_trick + directional_reparam > 1
                ),
                "straight_through excludes a learned codebook": straight_through and self.learnable_codebook,
                "orthogonal_reg_active_codes_only excludes separate_codebook_per_head": (
                    orthogonal_reg_active_codes_only and separate_codebook_per_head and heads > 1
                ),
                "codebook_size, dim and heads must be at least 1": min(codebook_size, dim, heads) < 1,
            }
        )
        self.dim = dim
        self.vocabulary_size = self.codebook_size = codebook_size
        self.ids_per_token = self.heads = heads
        self.codebook_axis = heads > 1
        self.separate_codebook_per_head = separate_codebook_per_head
        self.freeze_codebook = freeze_codebook
        self.channel_first = accept_image_fmap or accept_3d_fmap or not channel_last
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        code_dim = dim if codebook_dim is None else codebook_dim
        self._heads = Heads(heads, separate_codebook_per_head)
        self.project_in, self.project_out = projections(dim, code_dim * heads)
        self.has_projections = code_dim * heads != dim
        if layernorm_after_project_in and self.has_projections:
            self.project_in = nn.Sequential(self.project_in, Float32LayerNorm(code_dim * heads))
        sizes = (self._heads.tables, codebook_size, code_dim)
        parameter = self.learnable_codebook or orthogonal_reg_weight > 0
        if affine_param:
            self._codebook: Codebook = AffineCodebook(
                *sizes,
                batch_decay=affine_param_batch_decay,
                codebook_decay=affine_param_codebook_decay,
                learnable=parameter,
                from_data=kmeans_init,
            )
        else:
            self._codebook = Codebook(
                *sizes, cosine=use_cosine_sim, learnable=parameter, from_data=kmeans_init, bridge=vq_bridge
            )
        self._training = CodebookTraining(
            book=self._codebook,
            learning=Learning(
                decay=decay,
                eps=eps,
                kmeans_iters=kmeans_iters,
                dead_below=threshold_ema_dead_code,
                moves=follows,
                by_hand=manual_ema_update,
                synchronize=sync_codebook,
                synchronize_kmeans=sync_kmeans,
            ),
            regularization=Regularization(
                commitment_weight=0.0 if directional_reparam else commitment_weight,
                commitment_by_cross_entropy=commitment_use_cross_entropy_loss,
                diversity_weight=codebook_diversity_loss_weight,
                diversity_temperature=codebook_diversity_temperature,
                orthogonality_weight=orthogonal_reg_weight,
                orthogonality_of_active_codes=orthogonal_reg_active_codes_only,
                orthogonality_most_codes=orthogonal_reg_max_codes,
            ),
            sampling=Sampling(stochastic_sample_codes, sample_codebook_temp, straight_through),
            estimate=_estimator(rotation_trick, directional_reparam, directional_reparam_variance),
            routes_gradients=route_gradients_to_input,
            by_gradient=self.learnable_codebook,
            synchronous_step=sync_update_v,
            synchronizes_affine=sync_affine_param,
            optimizer=in_place_codebook_optimizer
            and in_place_codebook_optimizer(self._codebook.parameters()),
            steps_by_hand=manual_in_place_optimizer_update,
        )

    @property
    def codebook(self) -> Tensor:
        """The codes `(k d)`, with separate tables `(heads k d)`, before any projection out; assignable."""
        codes = self._codebook.embed
        return codes if self.separate_codebook_per_head else codes[0]

    @codebook.setter
    def codebook(self, codes: Tensor) -> None:
        with torch.no_grad():
            self._codebook.embed.copy_(codes)

    @property
    def ema_update(self) -> bool:
        """Whether the codes follow moving averages."""
        return self._training.learning.moves

    def forward(
        self,
        x: Tensor,
        indices: Tensor | None = None,
        mask: Tensor | None = None,
        lens: Tensor | None = None,
        topk: int | None = None,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool | None = None,
        return_loss_breakdown: bool = False,
        ema_update_weight: UpdateWeight | None = None,
        accum_ema_update: bool = False,
        ema_update: bool | None = None,
    ) -> VectorQuantizeOutput | VectorQuantizeOutputWithTerms | tuple[Tensor, Tensor]:
        """Quantize `(b n d)`, `(b d)` or, as the constructor says, `(b d n)`, `(b d h w)`, `(b d t h w)`.

        Args:
            x: the features, any floating dtype; computed in float32.
            indices: wanted ids: the answer is `(quantized, cross entropy against them)`.
            mask: `(b *space)` bool; where False, codes are zero and ids are -1.
            lens: `(b)`, instead of a mask: the length of each sequence.
            topk: give the so many nearest codes.
            sample_codebook_temp, freeze_codebook, ema_update: override the constructor's.
            return_loss_breakdown: answer the terms of the loss as well.
            ema_update_weight: a factor on each code's step; see `UpdateWeight`.
            accum_ema_update: keep this batch's counts for the next call without it.
        """
        tokens, layout = as_tokens(x, self.dim, self.channel_first)
        mask = self._mask(mask, lens, layout)
        if indices is not None:
            return self._against(tokens, layout, indices, x.dtype)
        if topk is not None:
            return self._nearest_several(tokens, layout, min(topk, self.codebook_size), mask, x.dtype)
        frozen = self.freeze_codebook if freeze_codebook is None else freeze_codebook
        call = Call(sample_codebook_temp, frozen, ema_update_weight, accum_ema_update, ema_update)
        codes, ids, loss, terms = self._pass(tokens, mask, call)
        if mask is not None:
            codes, ids = masked(codes, ids, mask)
            if not self.return_zeros_for_masked_padding:
                codes = torch.where(mask.unsqueeze(-1), codes, tokens)
        answer = (layout.codes(codes).to(x.dtype), layout.ids(ids), loss)
        if return_loss_breakdown:
            return VectorQuantizeOutputWithTerms(*answer, terms)
        return VectorQuantizeOutput(*answer)

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give the table's rows of indices `(b *space [heads])`, not projected out, in the input's layout."""
        self._check_ids(indices)
        space = indices.shape[1 : indices.ndim - self.codebook_axis]
        flat = indices.reshape(indices.shape[0], -1, *indices.shape[1 + len(space) :]).long()
        return Layout(indices.shape[0], space, bool(self.channel_first)).codes(self._rows_or_zeros(flat))

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Give what calling the quantizer in eval mode gave with these indices, in the input's layout."""
        return self._looked_up(indices, self.channel_first)

    def update_indices(self, x: Tensor, indices: Tensor, mask: Tensor | None = None) -> None:
        """Let the codebook follow features as if they had chosen these indices."""
        tokens, layout = as_tokens(x, self.dim, self.channel_first)
        mask = self._mask(mask, None, layout)
        vectors = self._vectors(tokens)
        ids = self._heads.split_ids(self._per_token(indices, tokens))
        self._training.learn(vectors, ids.clamp(min=0), self._per_vector(mask), Call())

    update_ema_indices = update_indices

    def expire_codes_(self, x: Tensor) -> None:
        """Replace codes that too few vectors chose by vectors of projected features `(b n (heads d))`."""
        if self.training:
            self._training.learning.replace_dead_codes(
                self._codebook, self._codebook.prepare(self._heads.split(x))
            )

    def update_in_place_optimizer(self) -> None:
        """Step the optimizer of the codes on the gradients it has, averaged over ranks, and forget them."""
        self._training.step_in_place()

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        codes, ids, loss, _ = self._pass(tokens, mask, Call(frozen=self.freeze_codebook))
        return Quantized(codes, ids, loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with full_precision(tokens.device):
            return self._heads.join_ids(self._codebook.nearest(self._vectors(tokens)), tokens.shape[0])

    def _codes(self, ids: Tensor) -> Tensor:
        with full_precision(ids.device):
            return self.project_out(self._rows(ids))

    def _codes_or_zeros(self, ids: Tensor) -> Tensor:
        present = ids >= 0
        if self.codebook_axis:
            present = present.any(dim=-1)
        with full_precision(ids.device):
            return self.project_out(self._rows_or_zeros(ids)) * present.unsqueeze(-1)

    def _rows(self, ids: Tensor) -> Tensor:
        """Give the table's rows `(b n (heads d))` of ids `(b n [heads])`."""
        return self._heads.join(self._codebook.look_up(self._heads.split_ids(ids)), ids.shape[0])

    def _rows_or_zeros(self, ids: Tensor) -> Tensor:
        """Give the same, with zeros for heads that are absent."""
        rows = self._rows(ids.clamp(min=0))
        absent = (ids < 0).unsqueeze(-1)
        if not self.codebook_axis:
            return rows.masked_fill(absent, 0)
        return rows.unflatten(-1, (self.heads, -1)).masked_fill(absent, 0).flatten(-2)

    def _vectors(self, tokens: Tensor) -> Tensor:
        """Give the prepared vectors `(g m d)` of tokens `(b n dim)`."""
        return self._codebook.prepare(self._heads.split(self.project_in(tokens)))

    def _pass(
        self, tokens: Tensor, mask: Tensor | None, call: Call
    ) -> tuple[Tensor, Tensor, Tensor, LossBreakdown]:
        """Give codes `(b n dim)`, ids `(b n [heads])`, loss and its terms of tokens `(b n dim)`."""
        with full_precision(tokens.device):
            vectors = self._vectors(tokens)
            if self.training:
                masked_in = self._per_vector(mask)
                codes, ids, terms = self._training.run(vectors, masked_in, call, tokens.requires_grad)
                loss = self._training.regularization.total(terms)
            else:
                ids = self._codebook.nearest(vectors)
                codes = self._codebook.look_up(ids)
                loss = vectors.new_zeros(())
                terms = LossBreakdown(loss, loss, loss, loss)
            batch = tokens.shape[0]
            codes = self.project_out(self._heads.join(codes, batch))
            return codes, self._heads.join_ids(ids, batch), loss, terms

    def _against(
        self, tokens: Tensor, layout: Layout, indices: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Give the codes, and the cross entropy of the logits against wanted ids `(b *space [heads])`."""
        codes, _, _, _ = self._pass(tokens, None, Call(frozen=self.freeze_codebook))
        with full_precision(tokens.device):
            scores = self._codebook.scores(self._vectors(tokens))
        wanted = self._per_token(indices, tokens)
        return layout.codes(codes).to(dtype), cross_entropy(scores, self._heads.split_ids(wanted))

    def _nearest_several(
        self, tokens: Tensor, layout: Layout, count: int, mask: Tensor | None, dtype: torch.dtype
    ) -> VectorQuantizeOutput:
        """Give the `count` nearest codes of each token, best first, and each one's own loss."""
        _refuse({"topk excludes several heads": self.heads > 1, "topk must be at least 1": count < 1})
        with full_precision(tokens.device):
            vectors = self._vectors(tokens)
            if self.training:
                self._training.begin(vectors.detach(), self._per_vector(mask))
            ids = self._codebook.nearest_several(vectors, count)
            rows = self._codebook.look_up(ids.flatten(1)).unflatten(1, (-1, count))
            rows = rows if self.learnable_codebook else rows.detach()
            repeated = vectors.unsqueeze(2).expand_as(rows)
            weight = self._training.regularization.commitment_weight or 1.0
            loss = weight * (rows - repeated).square().mean(dim=-1)
            if self.training and tokens.requires_grad and self._training.routes_gradients:
                rows = self._training.estimate(repeated, rows)
            codes = self.project_out(rows[0])
        ids, loss = ids[0], loss[0]
        if mask is not None:
            kept = mask.reshape(-1, 1)
            codes, ids, loss = codes * kept.unsqueeze(-1), ids.masked_fill(~kept, -1), loss * kept
        codes, ids, loss = (each.unflatten(0, tokens.shape[:2]) for each in (codes, ids, loss))
        return VectorQuantizeOutput(
            self._arrange_several(codes, layout).to(dtype), layout.ids(ids), layout.ids(loss)
        )

    def _arrange_several(self, codes: Tensor, layout: Layout) -> Tensor:
        """Arrange codes `(b n topk d)` as `(b *space topk d)`, with channels first `(b d *space topk)`."""
        arranged = layout.ids(codes)
        return arranged.movedim(-1, 1) if layout.channel_first and layout.space else arranged

    def _mask(self, mask: Tensor | None, lengths: Tensor | None, layout: Layout) -> Tensor | None:
        _refuse({"mask and lens exclude each other": mask is not None and lengths is not None})
        if lengths is not None:
            mask = mask_of_lengths(lengths, layout.space[0] if layout.space else 1)
        return None if mask is None else check_mask(mask, layout)

    def _per_token(self, indices: Tensor, tokens: Tensor) -> Tensor:
        """Give ids `(b *space [heads])` as `(b n [heads])`."""
        return indices.reshape(*tokens.shape[:2], *indices.shape[indices.ndim - self.codebook_axis :])

    def _per_vector(self, mask: Tensor | None) -> Tensor | None:
        return None if mask is None else self._heads.per_vector(mask)


def _estimator(rotation: bool, is_directional: bool, variance: float) -> Callable[[Tensor, Tensor], Tensor]:
    if rotation:
        return rotate_to
    return partial(directional, variance=variance) if is_directional else straight_through


def _refuse(mistakes: dict[str, bool]) -> None:
    """Refuse arguments if any of the mistakes, said as rules, was made."""
    for rule, broken in mistakes.items():
        if broken:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"VectorQuantize: {rule}")
