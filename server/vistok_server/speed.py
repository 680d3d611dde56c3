"""How long a worker is likely to take over its next batch."""

_LEARNING = 0.2  # the weight of the last batch


class Speed:
    """Learned from batches of one kind: their seconds, and their seconds for each pixel."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._of_pixel: float | None = None

    def learn(self, pixels: int, seconds: float) -> None:
        """Take a batch into account, the last ones counting most."""
        self._usual = _nearer(self._usual, seconds)
        self._of_pixel = _nearer(self._of_pixel, seconds / max(1, pixels))

    def seconds_for(self, pixels: int) -> float:
        """Guess, rather too little than too much: small batches say little of large ones; 0 without any."""
        if self._usual is None or self._of_pixel is None:
            return 0.0
        return min(self._usual, self._of_pixel * pixels)


def _nearer(before: float | None, now: float) -> float:
    return now if before is None else before + _LEARNING * (now - before)
