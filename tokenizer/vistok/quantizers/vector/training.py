"""One call in training, in order: place the codebook, choose codes, weigh the loss, pass gradients, learn.

Letters as in `codebook.py`: everything here is vectors `(g m d)` and ids `(g m)`; heads, projections and the
arrangement of features are its caller's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from vistok.quantizers.vector.codebook import AffineCodebook, Codebook
from vistok.quantizers.vector.learning import Learning, UpdateWeight
from vistok.quantizers.vector.regularization import LossBreakdown, Regularization, mean_over
from vistok.quantizers.vector.sampling import Sampling


@dataclass(frozen=True)
class Call:
    """What one call may ask for, beside its input; see `VectorQuantize.forward`."""

    temperature: float | None = None
    frozen: bool = False
    weight: UpdateWeight | None = None
    hold_back: bool = False
    moves: bool | None = None


@dataclass
class CodebookTraining:
    """A codebook and everything that happens to it and around it in training.

    Attributes:
        estimate: gives vectors and codes `(... d)` the value of the codes and gradients to the vectors.
        routes_gradients: whether the vectors get gradients of what is decoded from their codes.
        by_gradient: whether the codes get gradients, of the loss and, by `synchronous_step`, from decoding.
        synchronous_step: from 0 to 1 (equation 21 of Huh et al., arXiv:2305.08842).
        synchronizes_affine: whether ranks share the statistics of an `AffineCodebook`.
        optimizer: steps on the codes at every call.
        steps_by_hand: it waits for `step_in_place` to be called.
    """

    book: Codebook
    learning: Learning
    regularization: Regularization
    sampling: Sampling
    estimate: Callable[[Tensor, Tensor], Tensor]
    routes_gradients: bool
    by_gradient: bool
    synchronous_step: float
    synchronizes_affine: bool
    optimizer: Optimizer | None
    steps_by_hand: bool

    def run(
        self, vectors: Tensor, mask: Tensor | None, call: Call, wants_gradients: bool
    ) -> tuple[Tensor, Tensor, LossBreakdown]:
        """Give codes `(g m d)`, ids `(g m)` and the loss's terms of vectors, and learn from these.

        Args:
            vectors: prepared, `(g m d)`.
            mask: `(m)`, the same for all tables.
            call: what its caller asks for.
            wants_gradients: whether anything before the vectors can be trained.
        """
        seen = vectors.detach()
        moved_by = vectors.new_zeros(())
        if not call.frozen:
            self.begin(seen, mask)
            if self.optimizer is not None:
                moved_by = self._follow_gradients(seen, mask)
        scores, ids = self._choose(vectors, call.temperature)
        rows = self.book.look_up(ids)
        if not self.by_gradient or call.frozen:
            rows = rows.detach()
        codes = rows
        if wants_gradients and self.routes_gradients:
            codes = self._with_gradients(vectors, rows, scores, call.temperature)
        if self.synchronous_step:
            codes = codes + self.synchronous_step * (rows - rows.detach())
        if not call.frozen:
            self.learn(seen, ids, mask, call)
        # After learning, which moves codes in place: a loss on the table is differentiated where it is then.
        terms = self.regularization.terms(vectors, rows, ids, scores, self.book.embed, mask)
        return codes, ids, terms._replace(inplace_optimize=moved_by)

    def begin(self, vectors: Tensor, mask: Tensor | None) -> None:
        """Place a codebook that waits for data, and let one that moves as a whole see the batch."""
        vectors = vectors if mask is None else vectors[:, mask]
        self.learning.start(self.book, vectors)
        if isinstance(self.book, AffineCodebook):
            self.book.watch(vectors, self.learning.mean_over_ranks if self.synchronizes_affine else _own)

    def learn(self, vectors: Tensor, ids: Tensor, mask: Tensor | None, call: Call) -> None:
        """Let the codebook follow vectors that chose ids."""
        if mask is not None:
            vectors, ids = vectors[:, mask], ids[:, mask]
        self.learning.follow(
            self.book, vectors, ids, moves=call.moves, weight=call.weight, hold_back=call.hold_back
        )

    def step_in_place(self) -> None:
        """Step the codes' optimizer on the gradients they have, averaged over ranks, and forget these."""
        if self.optimizer is None:
            return
        for weight in self.book.parameters():
            if weight.grad is not None:
                weight.grad.copy_(self.learning.mean_over_ranks(weight.grad))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _choose(self, vectors: Tensor, temperature: float | None) -> tuple[Tensor | None, Tensor]:
        """Give logits `(g m k)`, where anything needs them, and ids `(g m)`."""
        if not (self.sampling.needs_scores or self.regularization.needs_scores):
            return None, self.book.nearest(vectors)
        scores = self.book.scores(vectors)
        return scores, self.sampling.choose(scores.detach(), temperature)

    def _with_gradients(
        self, vectors: Tensor, rows: Tensor, scores: Tensor | None, temperature: float | None
    ) -> Tensor:
        if self.sampling.soft_gradients and scores is not None:
            table = self.book.table().detach().clone()
            return self.sampling.with_soft_gradients(rows, scores, table, temperature)
        return self.estimate(vectors, rows)

    def _follow_gradients(self, vectors: Tensor, mask: Tensor | None) -> Tensor:
        """Take one step of the codes towards the vectors that choose them; give the loss before it."""
        with torch.enable_grad():
            errors = (self.book.look_up(self.book.nearest(vectors)) - vectors).square().mean(dim=-1)
            loss = mean_over(mask, errors)
            loss.backward()
        if not self.steps_by_hand:
            self.step_in_place()
        return loss.detach()


def _own(values: Tensor) -> Tensor:
    return values
