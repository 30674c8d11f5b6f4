"""What a run asks of servers, and what it costs.

    meter = Meter(Price(2.5, 10.0), Budget(usd=5.0))
    meter.ask()                                  # before each request; raises `Spent`
    meter.answered(prompt_tokens=812, completion_tokens=40)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tmcli.records import Trajectory


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    usd_in: float
    usd_out: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may ask for; None: as much as it likes."""

    usd: float | None = None
    requests: int | None = None
    tokens: int | None = None


class Meter:
    """Counts of one run."""

    def __init__(self, price: Price | None = None, budget: Budget = Budget()) -> None:
        self.price = price
        self.budget = budget
        self.requests = 0
        self.retries: Counter[str] = Counter()
        self.cached = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.usd: float | None = None if price is None else 0.0
        self.limit: int | None = None

    def ask(self) -> None:
        """A request is about to be sent."""
        self.requests += 1

    def answered(self, prompt_tokens: int, completion_tokens: int, *, cached: bool = False) -> None:
        """An answer came."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def retried(self, why: str) -> None:
        """A request is made again."""
        self.retries[why] += 1

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """What these tokens cost, in USD; None: nobody knows."""
        if self.price is None:
            return None
        return (prompt_tokens * self.price.usd_in + completion_tokens * self.price.usd_out) / 1e6

    def has_room(self, running: int) -> bool:
        """May one more episode start beside those that run?"""
        return True

    def played(self, trajectory: Trajectory) -> None:
        """An episode ended."""
