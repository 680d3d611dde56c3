"""VQ: the id is the number of the nearest code in a learned table (van den Oord et al., arXiv:1711.00937)."""

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.gradients import rotate_to, straight_through
from vistok.quantizers.vector.codebook import Codebook


class VectorQuantizeOutput(NamedTuple):
    """What calling a `VectorQuantize` gives."""

    quantized: Tensor
    """As the input."""
    indices: Tensor
    """int64, the input's shape without its channel axis."""
    loss: Tensor
    """Scalar, zero in eval mode."""


class VectorQuantize(Quantizer):
    """Vector quantization with a codebook that follows the data.

    Args:
        dim: channels of the feature map.
        codebook_size: number of codes.
        codebook_dim: channels of a code; where it differs from `dim`, linear layers project in and out.
        decay, eps, kmeans_init, kmeans_iters, threshold_ema_dead_code: see `Codebook`.
        freeze_codebook: training leaves the codebook as it is.
        use_cosine_sim: choose by angle; codes have unit length.
        channel_last: read three-axis inputs as `(b n d)`; False: `(b d n)`.
        accept_image_fmap: read four-axis inputs as `(b d h w)`.
        commitment_weight: weight of the squared distance between input and code.
        rotation_trick: pass gradients by rotation instead of straight through.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        *,
        decay: float = 0.8,
        eps: float = 1e-5,
        freeze_codebook: bool = False,
        kmeans_init: bool = False,
        kmeans_iters: int = 10,
        use_cosine_sim: bool = False,
        threshold_ema_dead_code: float = 0,
        channel_last: bool = True,
        accept_image_fmap: bool = False,
        commitment_weight: float = 1.0,
        rotation_trick: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary_size = codebook_size
        self.codebooks = 1
        self.freeze_codebook = freeze_codebook
        self.channel_first = accept_image_fmap or not channel_last
        self.commitment_weight = commitment_weight
        self._pass_gradients = rotate_to if rotation_trick else straight_through
        code_dim = dim if codebook_dim is None else codebook_dim
        projects = code_dim != dim
        self.project_in = nn.Linear(dim, code_dim) if projects else nn.Identity()
        self.project_out = nn.Linear(code_dim, dim) if projects else nn.Identity()
        self._codebook = Codebook(
            codebook_size,
            code_dim,
            cosine=use_cosine_sim,
            decay=decay,
            eps=eps,
            kmeans_init=kmeans_init,
            kmeans_iters=kmeans_iters,
            threshold_ema_dead_code=threshold_ema_dead_code,
        )

    @property
    def codebook(self) -> Tensor:
        """The codes `(k d)`, before any projection out."""
        return self._codebook.embed[0]

    def forward(self, x: Tensor) -> VectorQuantizeOutput:
        """Quantize `(b n d)`, `(b d)` or, as the arguments say, `(b d n)` or `(b d h w)`."""
        codes, indices, loss = self._arranged(x, None, self.channel_first)
        return VectorQuantizeOutput(codes.to(x.dtype), indices, loss)

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Give the table's rows `(... d)` of indices `(...)`, before any projection out."""
        return self._codebook.look_up(indices)

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Give what calling the quantizer gave with these indices, in the layout of its input."""
        return self._looked_up(indices, self.channel_first)

    def _quantize(self, tokens: Tensor, mask: Tensor | None) -> Quantized:
        with torch.autocast(tokens.device.type, enabled=False):
            latents = self.project_in(tokens.float())
            prepared = self._codebook.prepare(latents.flatten(0, 1))
            learns = self.training and not self.freeze_codebook
            if learns:
                self._codebook.start(prepared.detach())
            ids = self._codebook.nearest(prepared.detach())
            codes = self._codebook.look_up(ids)
            loss = codes.new_zeros(())
            if self.training:
                loss = self.commitment_weight * functional.mse_loss(prepared, codes)
                codes = self._pass_gradients(prepared, codes)
            if learns:
                self._codebook.follow(prepared.detach(), ids)
            codes = self.project_out(codes.unflatten(0, tokens.shape[:2]))
        return Quantized(codes, ids.unflatten(0, tokens.shape[:2]), loss)

    def _ids(self, tokens: Tensor) -> Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            latents = self.project_in(tokens.float()).flatten(0, 1)
            return self._codebook.nearest(self._codebook.prepare(latents)).unflatten(0, tokens.shape[:2])

    def _codes(self, ids: Tensor) -> Tensor:
        return self.project_out(self._codebook.look_up(ids))
