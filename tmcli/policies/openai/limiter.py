"""How many requests a server is sent at once: as many as it takes.

    ticket = limiter.start()             # a request is sent; only while `limiter.has_room`
    limiter.end()                        # it is over, whatever came of it
    limiter.accepted()                   # it was answered: one more at once for each full round of answers
    limiter.refused(ticket)              # it was too much (429, 503, no answer in time)

Additive increase, multiplicative decrease, as TCP has it: every round of answers adds one; a round in which
more than a fifth was refused halves, and only once, since what was sent before a cut says nothing about it.
A fifth is borne because gateways refuse some requests at random, and one that answers 503 to every fiftieth
would otherwise be asked one at a time. A plain state machine: no clock, no waiting.
"""

from __future__ import annotations

BORNE = 0.2
"""The share of a round that may be refused without a cut."""
ROUND = 16
"""The fewest answers that a round has: less says too little."""


class Limiter:
    """The limit of one server, from 1 to `most`."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.limit = float(self.most)
        self.running = 0
        self._sent = 0
        self._cut_at = 0
        """The last ticket when the limit was cut."""
        self._answers = 0
        """Of this round."""
        self._refusals = 0

    @property
    def has_room(self) -> bool:
        return self.running < int(self.limit)

    def start(self) -> int:
        """A request is sent; its ticket."""
        self.running += 1
        self._sent += 1
        return self._sent

    def end(self) -> None:
        self.running -= 1

    def accepted(self) -> None:
        if self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
        if self._refusals:
            self._count(0)

    def refused(self, ticket: int) -> None:
        if ticket <= self._cut_at:
            return
        self._count(1)
        if self._refusals > BORNE * max(ROUND, int(self.limit)):
            self.limit = max(1.0, self.limit / 2)
            self._cut_at = self._sent
            self._answers = self._refusals = 0

    def _count(self, refusals: int) -> None:
        """One more answer. A round begins with its first refusal and ends after as many as fit at once."""
        if self._answers >= max(ROUND, int(self.limit)):
            self._answers = self._refusals = 0
        self._answers += 1
        self._refusals += refusals
