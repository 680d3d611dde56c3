"""When to try again and how long to wait. Every call may be repeated: a second time changes nothing."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

RETRIES = 5
FIRST_WAIT = 0.25
LONGEST_WAIT = 8.0
# A service that asks for more has other plans; the caller should know.
LONGEST_RETRY_AFTER = 60.0

PASSING_STATUSES = (429, 503)
# A read timeout is not here: to repeat what takes too long makes it take longer.
PASSING_FAILURES = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)

Outcome = httpx.Response | httpx.RequestError


class Attempts:
    """The tries of one call: at most `retries` after the first, with growing waits between."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self._wait = FIRST_WAIT

    def wait_after(self, outcome: Outcome) -> float | None:
        """Return the seconds to wait before the next try, None when this outcome is the last."""
        asked = retry_after(outcome) or 0.0
        if self._left <= 0 or not _passes(outcome) or asked > LONGEST_RETRY_AFTER:
            return None
        # Spread out, so that clients refused together do not come back together.
        wait = max(asked, self._wait * random.uniform(0.5, 1.0))
        self._left -= 1
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return wait


def retry_after(outcome: Outcome) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), None without a readable one."""
    if not isinstance(outcome, httpx.Response):
        return None
    text = outcome.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # Without a zone the date is in UTC, the only one that HTTP has.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _passes(outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in PASSING_STATUSES
    return isinstance(outcome, PASSING_FAILURES)
