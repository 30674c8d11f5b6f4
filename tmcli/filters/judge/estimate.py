"""What a judge would be asked, and what that costs, before anything is asked (`--dry-run`).

    estimate(lines, questions, price).tell()

The requests and what they say are known; a token is taken to be four characters. What the judge says is not:
half a sentence (low), two (typical), or all it may (high). Thoughts that a server bills come on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmcli import console
from tmcli.filters.judge import solved, transcript
from tmcli.filters.judge.questions import Question
from tmcli.meter import CHARS_PER_TOKEN, Price
from tmcli.records import Json, Trajectory, decode, expect

MAX_NEW_TOKENS = 1024
"""Of one answer; most take a tenth of it, models that think first take more."""
SAID = (("low", 20), ("typical", 60), ("high", MAX_NEW_TOKENS))
"""Tokens of one answer."""
PER_REQUEST = 8
"""Tokens of the marks around two messages."""


@dataclass(slots=True)
class Estimate:
    """What would be asked."""

    price: Price | None
    n: int = 0
    """Trajectories."""
    n_too_long: int = 0
    requests: int = 0
    tokens_in: float = 0.0

    def add(self, messages: list[Json]) -> None:
        """One request."""
        self.requests += 1
        self.tokens_in += PER_REQUEST + sum(len(message["content"]) for message in messages) / CHARS_PER_TOKEN

    def row(self, name: str, said: int) -> list[str | None]:
        """What it comes to when each answer takes so many tokens."""
        tokens_out = self.requests * said
        usd = None if self.price is None else f"{self.price.of(self.tokens_in, tokens_out):,.2f}"
        return [name, f"{self.requests:,}", f"{self.tokens_in:,.0f}", f"{tokens_out:,}", usd]

    def tell(self) -> None:
        """Show it on stderr."""
        rows = [self.row(name, said) for name, said in SAID]
        title = f"questions about {self.n:,} trajectories, estimated; nothing was asked"
        console.table(title, ["", "requests", "tokens in", "tokens out", "USD"], rows)
        if self.n_too_long:
            console.note(f"{self.n_too_long:,} are too long to be shown, and nobody is asked about them")
        if self.price is None:
            console.note("the price of this model is not known: give --price-in and --price-out")


def estimate(lines: Iterable[bytes], questions: Sequence[Question], price: Price | None) -> Estimate:
    """What asking these questions about these trajectories comes to."""
    found = Estimate(price)
    for line in lines:
        trajectory = expect(decode(line), Trajectory)
        found.n += 1
        shown = transcript.record(trajectory)
        if shown is None:
            found.n_too_long += 1
            continue
        for question in questions:
            if question.moot(trajectory) is None:
                found.add(transcript.asked(shown, question, []))
    return found


def tell_solved(trajectories: Iterable[Trajectory], n: int, price: Price | None, *, trials: bool) -> None:
    """The same of `tm eval --judge`, where each of `n` judgings takes one request if the answer alone tells,
    and two if it does not."""
    sure, unsure = Estimate(price), Estimate(price)
    for trajectory in trajectories:
        for found, is_sure in ((sure, True), (unsure, False)):
            found.n += 1
            for messages in solved.due(trajectory, n, sure=is_sure, trials=trials):
                found.add(messages)
    rows = [found.row(*said) for found, said in zip((sure, sure, unsure), SAID, strict=True)]
    console.table(
        f"{n} judgings of {sure.n:,} episodes, estimated; nothing was asked",
        ["", "requests", "tokens in", "tokens out", "USD"],
        rows,
    )
    if price is None:
        console.note("the price of this model is not known: give --judge-price")
