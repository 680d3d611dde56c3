"""Choosing codes at random: a draw from the softmax of the logits over a temperature (Gumbel-max trick)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vistok.quantizers.gradients import straight_through


@dataclass(frozen=True)
class Sampling:
    """How training chooses among codes.

    Attributes:
        stochastic: draw, instead of taking the largest logit.
        temperature: 0 takes the largest logit.
        soft_gradients: pass gradients through the softmax (Jang et al., arXiv:1611.01144).
    """

    stochastic: bool
    temperature: float
    soft_gradients: bool

    @property
    def needs_scores(self) -> bool:
        """Whether the nearest code alone is not enough to choose."""
        return self.stochastic or self.soft_gradients

    def choose(self, scores: Tensor, temperature: float | None) -> Tensor:
        """Give ids `(g m)` for logits `(g m k)`; a temperature overrides the attribute."""
        temperature = self.temperature if temperature is None else temperature
        if not self.stochastic or temperature <= 0:
            return scores.argmax(dim=-1)
        return (scores / temperature + _gumbel_noise(scores)).argmax(dim=-1)

    def with_soft_gradients(
        self, rows: Tensor, scores: Tensor, table: Tensor, temperature: float | None
    ) -> Tensor:
        """Give rows `(g m d)` of a table `(g k d)` the gradient of the table's mean under the softmax."""
        temperature = self.temperature if temperature is None else temperature
        if temperature <= 0:
            return rows.detach()
        return straight_through((scores / temperature).softmax(dim=-1) @ table, rows)


def _gumbel_noise(like: Tensor) -> Tensor:
    tiny = torch.finfo(like.dtype).tiny
    uniform = torch.rand_like(like).clamp(min=tiny)
    return -(-uniform.log()).clamp(min=tiny).log()
