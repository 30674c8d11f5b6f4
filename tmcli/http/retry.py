"""How long a server that does not answer is tried again.

    patience = Patience(tries=3)
    for attempt in range(patience.tries):
        ...
        await asyncio.sleep(patience.pause_s(attempt))        # or what `retry_after(headers)` asks for
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries, pauses between them and the time of all together."""

    tries: int = 8
    base_s: float = 0.5
    """The n-th pause is drawn from 0 to base * 2^n: full jitter, so that clients that failed together do not
    come back together."""
    max_pause_s: float = 60.0
    total_s: float = 300.0
    """For one reply, pauses included."""

    def pause_s(self, attempt: int) -> float:
        """The pause after try number `attempt`, which counts from 0."""
        return random.uniform(0, min(self.max_pause_s, self.base_s * 2 ** min(attempt, 60)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as `Retry-After` says them, a number or a date; None where it says none."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if isfinite(seconds) else None
