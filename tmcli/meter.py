"""What a run asks of servers, what it costs, and when it has had enough.

    meter = Meter(Price(2.5, 10.0), Budget(usd=5.0))
    meter.has_room(running=3)                    # may one more episode start?
    meter.ask()                                  # before each request; raises `Spent`
    meter.answered(prompt_tokens=812, completion_tokens=40)

One meter belongs to one run and to one event loop: nothing here waits, so a check and its count are one step,
and `Budget.requests` holds exactly, however many episodes run. What an answer costs is known only when it is
there: `usd` and `tokens` are kept by starting no episode that is not expected to fit, and by sending nothing
more once they are used up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tmcli.errors import Spent, UsageError
from tmcli.records import Trajectory

PILOTS = 8
"""Episodes at once under a budget until the first has ended: nobody knows yet what one takes."""
GUESS = (8, 16_000, 1_000)
"""Requests, prompt and completion tokens of an episode until then, rather many: a small budget is not spread
over episodes of which none could end."""

CHARS_PER_TOKEN = 4
"""Where nobody counts tokens, so many characters are taken for one."""

REMEDY = "--resume with a larger one plays the rest"
"""What helps when a budget is used up."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    usd_in: float
    usd_out: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """USD for so many tokens."""
        return (prompt_tokens * self.usd_in + completion_tokens * self.usd_out) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use; None: as much as it likes."""

    usd: float | None = None
    requests: int | None = None
    """Retries count."""
    tokens: int | None = None
    """Prompt and completion tokens together."""


class Meter:
    """Counts of one run. Raises `UsageError` for a budget in USD when no price is known."""

    def __init__(self, price: Price | None = None, budget: Budget = Budget()) -> None:
        if budget.usd is not None and price is None:
            raise UsageError(
                "--budget-usd needs a price, and the price of this model is not known",
                "give --price-in and --price-out, in USD per million tokens",
            )
        self.price = price
        self.budget = budget
        self.requests = 0
        """Sent, retries included."""
        self.retries: Counter[str] = Counter()
        """Requests made again, by what went wrong (`429`, `reset`, `timeout`)."""
        self.cached = 0
        """Answers that came out of the cache: no request, no cost."""
        self.prompt_tokens = 0
        """Of answers that were paid for, as all counts of tokens here."""
        self.completion_tokens = 0
        self.usd: float | None = None if price is None else 0.0
        self.limit: int | None = None
        """Requests allowed at once now, all servers together; None: nobody limits them."""
        self.stopped = ""
        """Why no more episodes start, as a sentence; empty: nothing stands against it."""
        self.ended = 0
        self._sums = (0, 0, 0)
        """Requests, prompt and completion tokens of the episodes that ended, as their records tell them."""
        self._spent = False

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def ask(self) -> None:
        """A request is about to be sent. Raises `Spent` when the budget forbids it, uncounted."""
        for name, used, most, _ in self._limits():
            if used >= most:
                error = Spent(_sentence(name, most, used), REMEDY)
                self.stopped = str(error)
                self._spent = True
                raise error
        self.requests += 1

    def answered(self, prompt_tokens: int, completion_tokens: int, *, cached: bool = False) -> None:
        """An answer came; out of the `cached` ones it costs nothing here."""
        if cached:
            self.cached += 1
            return
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        if self.price is not None and self.usd is not None:
            self.usd += self.price.of(prompt_tokens, completion_tokens)

    def retried(self, why: str) -> None:
        """A request is made again."""
        self.retries[why] += 1

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """What these tokens cost, in USD; None: nobody knows."""
        return None if self.price is None else self.price.of(prompt_tokens, completion_tokens)

    def has_room(self, running: int) -> bool:
        """May one more episode start beside the `running` ones?

        False is no last word while some run: they may end cheaper than feared. With none running it is.
        """
        if self._spent:
            return False
        self.stopped = ""
        for name, used, most, mean in self._limits():
            if used and used >= most:
                self.stopped = f"{_sentence(name, most, used)}; {REMEDY}"
            elif not self.ended:
                if running >= PILOTS or (running and (running + 1) * mean > most):
                    self.stopped = "nobody knows yet what an episode takes"
            elif used and used + (running + 1) * mean > most:
                # nothing used so far: all comes out of a cache, or nobody is asked
                why = _sentence(name, most, used, "nearly ")
                self.stopped = f"{why}, one more episode takes about {_amount(name, mean)}; {REMEDY}"
        return not self.stopped

    def played(self, trajectory: Trajectory) -> None:
        """An episode ended; invalid ones tell too little of what one takes."""
        usage = trajectory.usage
        if trajectory.status == "ok":
            self.took(usage.get("turns", 0), usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))

    def took(self, requests: int, prompt_tokens: int, completion_tokens: int) -> None:
        """What one episode took, or one trajectory that is judged, by whatever it was answered."""
        self.ended += 1
        old = self._sums
        self._sums = (old[0] + requests, old[1] + prompt_tokens, old[2] + completion_tokens)

    def _limits(self) -> Iterator[tuple[str, float, float, float]]:
        """(what, used so far, at most, what an episode takes) of each limit that is set."""
        budget, sums, n = self.budget, self._sums, max(1, self.ended)
        requests, prompt, completion = sums if self.ended else GUESS
        if budget.usd is not None and self.usd is not None:
            yield "usd", self.usd, budget.usd, (self.cost(prompt, completion) or 0.0) / n
        if budget.requests is not None:
            yield "requests", self.requests, budget.requests, requests / n
        if budget.tokens is not None:
            yield "tokens", self.tokens, budget.tokens, (prompt + completion) / n


def _amount(name: str, value: float) -> str:
    if name == "usd":
        return dollars(value)
    amount = f"{value:,.0f}"
    return f"{amount} {name.removesuffix('s') if amount == '1' else name}"


def _sentence(name: str, most: float, used: float, how_far: str = "") -> str:
    return f"the budget of {_amount(name, most)} is {how_far}used up ({_amount(name, used)})"


def dollars(usd: float) -> str:
    """Money, with the digits that matter.

    >>> dollars(0.00042), dollars(0.5), dollars(1234.5)
    ('$0.00042', '$0.50', '$1,234.50')
    """
    if 0 < usd < 0.01:
        return f"${usd:.2g}" if usd >= 1e-4 else f"${usd:.5f}"
    return f"${usd:,.2f}"
