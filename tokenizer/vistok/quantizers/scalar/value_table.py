"""A few values for each channel: where they start, how the nearest is found, all channels at once."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from vistok.quantizers.precision import Constants


class Places(Constants):
    """Where the values of each channel stand among those of all channels, one after the other.

    Args:
        sizes: number of values of each channel.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        first = torch.tensor([0, *accumulate(sizes)][:-1], dtype=torch.int64)
        last = torch.tensor(sizes, dtype=torch.int64) - 1
        # Shorter rows end in repetitions of their last value: the nearest is the first of equals.
        columns = torch.arange(max(sizes)).minimum(last.unsqueeze(1))
        super().__init__(first=first, rows=first.unsqueeze(1) + columns)

    def nearest(self, latents: Tensor, values: Tensor) -> Tensor:
        """Give for latents `(... d)` the number of the nearest value of their channel, int64 from 0.

        Args:
            latents: float32.
            values: `(sum of sizes)` float32, in any order within a channel.
        """
        # Candidates first and tokens last is the order in which torch reduces fast; argmin is slow in any.
        candidates = values[self.rows].T.unsqueeze(-1)
        count = len(candidates)
        distance = (latents.reshape(-1, latents.shape[-1]).T.contiguous() - candidates).abs_()
        is_nearest = distance.eq_(distance.amin(dim=0))
        falling = torch.arange(count - 1, -1, -1, dtype=torch.float32, device=latents.device)
        # The first of equals has the largest of falling numbers.
        largest = is_nearest.mul_(falling.view(-1, 1, 1)).amax(dim=0)
        return (count - 1 - largest).T.contiguous().long().reshape(latents.shape)

    def values(self, digits: Tensor, values: Tensor) -> Tensor:
        """Give the values `(... d)` that digits `(... d)` number."""
        return values[digits + self.first]


class FixedValues(Constants):
    """The values of each channel where nothing trains them: a sequence of tensors outside the state dict."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        super().__init__(**{str(channel): of_channel for channel, of_channel in enumerate(values)})

    def __len__(self) -> int:
        return len(self._buffers)

    def __getitem__(self, channel: int) -> Tensor:
        return getattr(self, str(range(len(self))[channel]))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[channel] for channel in range(len(self)))


def evenly_spaced(size: int) -> Tensor:
    """Give `size` values from -0.5 on, one of them zero: up to 0.5 where their number is odd."""
    if size % 2:
        return torch.linspace(-0.5, 0.5, size, dtype=torch.float32)
    return torch.arange(size, dtype=torch.float32) / size - 0.5
