"""Tables that depend on what the layers before them chose (QINCo, Huijben et al., arXiv:2401.14732).

    code = f(e_k, sum of earlier codes)      f(e, s) = h_L
    h_0 = W [s, e] + b      h_l = h_{l-1} + MLP_l(h_{l-1})

This is the form of the field's library (SiLU, biases), whose weights it loads; the authors' own weights have
another one. A table is a matrix for each vector: it is searched in tiles, and decoding computes no more of it
than the rows that were chosen.
"""

from torch import Tensor, nn
from torch.nn import functional

from vistok.quantizers.precision import Projection


class ImplicitCodebook(nn.Module):
    """The network `f` of one layer.

    Args:
        dim: channels of codes.
        dim_hidden: hidden channels of each block. Default: `dim`.
        depth: number of blocks.
    """

    def __init__(self, dim: int, dim_hidden: int | None = None, depth: int = 4) -> None:
        super().__init__()
        hidden = dim if dim_hidden is None else dim_hidden
        self.proj_in = Projection(2 * dim, dim)
        self.layers = nn.ModuleList(
            nn.Sequential(Projection(dim, hidden), nn.SiLU(), Projection(hidden, dim)) for _ in range(depth)
        )

    def forward(self, codes: Tensor, so_far: Tensor) -> Tensor:
        """Map codes `(... d)` under the condition `so_far`, of a shape that broadcasts with theirs."""
        for_condition, for_codes = self.proj_in.weight.float().chunk(2, dim=1)
        # The two halves apart, so that neither codes nor conditions are repeated for each other.
        mapped = functional.linear(codes, for_codes, self.proj_in.bias.float())
        mapped = mapped + functional.linear(so_far, for_condition)
        for block in self.layers:
            mapped = mapped + block(mapped)
        return mapped
