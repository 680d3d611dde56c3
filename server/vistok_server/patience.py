"""How long a call may take: begun anew with each step of work that goes on and on."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """The time that is left to a call.

    Attributes:
        is_renewed: whether it can begin anew: not where the caller has set a time for all.
    """

    _timeout: asyncio.Timeout
    _seconds: float
    is_renewed: bool

    def renew(self) -> None:
        """Begin anew, if that may be, and it is not over."""
        if self.is_renewed and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)
