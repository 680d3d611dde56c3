"""How FSQ bounds a latent channel and rounds it to one of its levels.

A bound places latents on a line where levels are the whole numbers; a code is a level scaled to [-1, 1].
With `f` the hyperbolic tangent or a hard clamp and `L` levels:

    centred    place = f(z + shift) * (L - 1) / 2 - offset    level = round(place)
               code = level / (L // 2)
    symmetric  place = (f(z) + 1) * (L - 1) / 2               level = floor(place + 1/2)
               code = 2 level / (L - 1) - 1

The centred one (Mentzer et al., arXiv:2309.15505) has a code at zero, so that an even number of levels
reaches -1 but not 1; the symmetric one (Parker et al., arXiv:2411.19842) reaches both ends.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vistok.quantizers.gradients import straight_through
from vistok.quantizers.precision import Constants

STRETCH = 1e-3
"""The centred bound is stretched by this share, so that the outermost levels can be reached."""


def hard_clamp(latents: Tensor) -> Tensor:
    """Clamp to [-1, 1]."""
    return latents.clamp(-1, 1)


class Bound(Constants, ABC):
    """Latents `(... d)` to levels and codes; all in float32."""

    lowest: Tensor
    """`(d)`: the lowest level of each channel."""

    def __init__(self, hard: bool, **constants: Tensor) -> None:
        super().__init__(**constants)
        self._squash = hard_clamp if hard else torch.tanh

    @abstractmethod
    def place(self, latents: Tensor) -> Tensor:
        """Place latents on the line of levels; differentiable."""

    @abstractmethod
    def level(self, places: Tensor) -> Tensor:
        """Give the levels nearest to places: whole numbers, in float32."""

    @abstractmethod
    def code(self, levels: Tensor) -> Tensor:
        """Scale levels to codes in [-1, 1]."""

    @abstractmethod
    def digits_of_codes(self, codes: Tensor) -> Tensor:
        """Give the digits of codes that are exact but for rounding errors."""

    def digits(self, levels: Tensor) -> Tensor:
        """Count levels from the lowest: whole numbers from 0, in float32."""
        return levels - self.lowest

    def code_of_digits(self, digits: Tensor) -> Tensor:
        """Give the codes of digits."""
        return self.code(digits + self.lowest)

    def forward(self, latents: Tensor) -> Tensor:
        """Give the codes of latents, with gradients straight through the rounding."""
        places = self.place(latents)
        return self.code(straight_through(places, self.level(places)))


class CentredBound(Bound):
    """Levels are counted from the one at zero. There are at least 3."""

    def __init__(self, levels: Sequence[int], hard: bool, stretch: float = STRETCH) -> None:
        sizes = torch.tensor(levels, dtype=torch.float32)
        half_width = (sizes - 1) * (1 + stretch) / 2
        # An even number of levels has no middle one: half a step's shift lets rounding see whole numbers.
        offset = torch.where(sizes % 2 == 0, 0.5, 0.0).float()
        shift = offset / half_width
        super().__init__(
            hard,
            half_width=half_width,
            offset=offset,
            shift=shift if hard else shift.atanh(),
            steps=sizes // 2,
            lowest=-(sizes // 2),
        )

    def place(self, latents: Tensor) -> Tensor:
        """Give places from `-(L // 2)` to `(L - 1) // 2`, and a little beyond."""
        return self._squash(latents + self.shift) * self.half_width - self.offset

    def level(self, places: Tensor) -> Tensor:
        """Round."""
        return places.round()

    def code(self, levels: Tensor) -> Tensor:
        """Divide by the number of steps below zero."""
        return levels / self.steps

    def digits_of_codes(self, codes: Tensor) -> Tensor:
        """Invert `code_of_digits`."""
        return self.digits((codes * self.steps).round())


class SymmetricBound(Bound):
    """Levels are counted from the lowest, and lie symmetrically around zero. There are at least 2."""

    def __init__(self, levels: Sequence[int], hard: bool) -> None:
        steps = torch.tensor(levels, dtype=torch.float32) - 1
        super().__init__(hard, half_width=steps / 2, scale=2 / steps, lowest=torch.zeros_like(steps))

    def place(self, latents: Tensor) -> Tensor:
        """Give places from 0 to `L - 1`."""
        return (self._squash(latents) + 1) * self.half_width

    def level(self, places: Tensor) -> Tensor:
        """Round, halves upwards."""
        return (places + 0.5).floor()

    def code(self, levels: Tensor) -> Tensor:
        """Scale to [-1, 1]."""
        return levels * self.scale - 1

    def digits_of_codes(self, codes: Tensor) -> Tensor:
        """Invert `code_of_digits`."""
        return self.digits(((codes + 1) / self.scale).round())
