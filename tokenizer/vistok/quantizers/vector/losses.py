"""What tables that an optimizer trains add to the training loss."""

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vistok.quantizers.processes import mean_over_ranks
from vistok.quantizers.scalar.diversity import negative_p_log_p

# Probabilities held at a time: 2^24 float32 are 64 MiB.
_PROBABILITIES_PER_TILE = 2**24


def mean_square(differences: Tensor, mask: Tensor | None) -> Tensor:
    """Give the mean square of `(b n d)` over the positions where a mask `(b n)` holds; zero without any."""
    squares = differences.square()
    if mask is None:
        return squares.mean()
    return squares[mask].sum() / (mask.sum() * squares.shape[-1]).clamp(min=1)


def pull_together(
    features: Tensor, codes: Tensor, mask: Tensor | None, *, codes_weight: float, features_weight: float
) -> Tensor:
    """Give `w_c |sg(features) - codes|^2 + w_f |features - sg(codes)|^2`, means (arXiv:1711.00937).

    Args:
        features: `(b n d)`.
        codes: `(b n d)`, with the gradients of the table.
        mask: `(b n)` bool.
        codes_weight: of the term that moves codes.
        features_weight: of the commitment, the term that moves features.
    """
    moving_codes = mean_square(codes - features.detach(), mask)
    moving_features = mean_square(features - codes.detach(), mask)
    return codes_weight * moving_codes + features_weight * moving_features


def entropies_of_choice(tokens: Tensor, codes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Give the mean entropy of the tokens' softmaxes over all codes, and that of their mean distribution.

    In nats; training asks for a small first and a large second. Tokens go in tiles whose
    probabilities are computed again for the gradients, so that memory does not grow with `n k`.

    Args:
        tokens: `(n d)`.
        codes: `(k d)`; the logits are the inner products.
        temperature: divides the logits.
    """
    rows = max(1, _PROBABILITIES_PER_TILE // len(codes))
    own = tokens.new_zeros(())
    total = codes.new_zeros(len(codes))
    for tile in tokens.split(rows):
        own_of_tile, total_of_tile = checkpoint(
            _sums_of_tile, tile, codes, temperature, use_reentrant=False, preserve_rng_state=False
        )
        own, total = own + own_of_tile, total + total_of_tile
    count = max(len(tokens), 1)
    return own / count, negative_p_log_p(mean_over_ranks(total / count)).sum()


def _sums_of_tile(tokens: Tensor, codes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = tokens @ codes.T / temperature
    log_probability = logits.log_softmax(dim=1)
    probability = log_probability.exp()
    return -(probability * log_probability).sum(), probability.sum(dim=0)
