"""Is a server down for everyone? Then all wait, and one asks from time to time.

    breaker.failed(now, gone=True)       # a request met passing trouble; gone: nobody was reached
    breaker.succeeded()                  # one was answered
    breaker.is_open                      # send nothing ...
    breaker.due(now)                     # ... but one request, when its time has come
    breaker.probe()                      # which is sent now
    breaker.probed(now, ...)             # and failed as well
    breaker.is_lost(now)                 # it has been down for longer than anyone should wait

It opens after `ROW` failures without a success between them, after `GONE` where nobody was reached, and at
once when the first request ever reaches nobody. A success closes it, also of a request sent before. A plain
state machine: the clock is given, nothing waits.
"""

from __future__ import annotations

from tmcli.http import Patience

ROW = 16
"""So many failures in a row, of all requests together: the server is down."""
GONE = 4
"""The same where nobody was reached: that never depends on what was asked."""
FIRST_TRIES = 5
"""A server that was never there is not waited for longer than this; one that says it is busy is."""
PROBE_S = 10.0
"""The longest pause between two probes, unless the server asks for more: one request harms nobody."""


class Breaker:
    """What is known about one server's health."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.opened_at: float | None = None
        self.next_probe_at = 0.0
        self.probing = False
        self.probes = 0
        """That failed since it opened."""
        self.ever = False
        """Has it ever answered?"""
        self.row = 0
        """Failures in a row, until it opened."""
        self.busy = False
        """Did the last failure say that somebody is there?"""
        self._gone = 0

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def succeeded(self) -> None:
        self.ever = True
        self.row = self._gone = 0
        self.opened_at = None
        self.probing = False

    def failed(self, now: float, *, gone: bool = False, busy: bool = False, asked_s: float = 0.0) -> None:
        """A request that was no probe failed. `asked_s`: the server asks to wait so long."""
        if self.is_open:  # it was sent before
            return
        self.row += 1
        self._gone = self._gone + 1 if gone else 0
        if self.row >= ROW or self._gone >= (GONE if self.ever else 1):
            self.opened_at = now
            self.probes = 0
            self.probing = False
            self.busy = busy
            self._later(now, asked_s)

    def due(self, now: float) -> bool:
        """May one request be sent to an open one?"""
        return self.is_open and not self.probing and now >= self.next_probe_at

    def probe(self) -> None:
        """One request is sent."""
        self.probing = True

    def probed(self, now: float, *, busy: bool = False, asked_s: float = 0.0) -> None:
        """It failed."""
        self.probing = False
        if self.is_open:
            self.probes += 1
            self.busy = busy
            self._later(now, asked_s)

    def dropped(self) -> None:
        """The probe was called off and says nothing."""
        self.probing = False

    @property
    def never_there(self) -> bool:
        return not self.ever and not self.busy

    def is_lost(self, now: float) -> bool:
        """Has it been down for so long that a run should end?"""
        if self.opened_at is None:
            return False
        if self.never_there and self.probes + 1 >= FIRST_TRIES:
            return True
        return now - self.opened_at >= self.patience.total_s

    def down_s(self, now: float) -> float:
        return 0.0 if self.opened_at is None else now - self.opened_at

    def _later(self, now: float, asked_s: float) -> None:
        """The next probe: as long as the server asks for, but never past the end of all patience."""
        assert self.opened_at is not None
        pause_s = max(min(self.patience.pause_s(self.probes), PROBE_S), asked_s)
        end = max(now, self.opened_at + self.patience.total_s)
        self.next_probe_at = min(now + pause_s, end)
