"""`--judge POLICY`: a model behind a server answers narrow questions about each trajectory.

    with Judge("gpt-4o", chosen(["grounded"]), service, price, budget) as judge:
        for line, mine, reason, why in judge.run(items): ...        # items: (line, anything)
    judge.tell()

Each question is a request of its own, asked through the machinery of `policies/openai`: limits, retries,
cache, budget. The verdicts are kept in the record under `judged`; every other byte of its line stays. No
verdict is not a no: a server that gives no answer, an answer that says neither, a record too long to be shown
and a budget that is used up leave null, and say why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self, TypeVar

from tmcli import console
from tmcli.errors import RunError, Spent
from tmcli.filters.judge import transcript, verdict
from tmcli.filters.judge.asking import BLIND, TOO_LONG, USED_UP, Asking, Room
from tmcli.filters.judge.questions import Question
from tmcli.filters.judge.verdict import Verdict
from tmcli.meter import Budget, Price
from tmcli.policies import Service
from tmcli.records import Drop, Json, Trajectory, decode, expect

T = TypeVar("T")


class Judge:
    """One model and its questions, for all trajectories."""

    word = "judge"

    def __init__(
        self,
        policy: str,
        questions: Sequence[Question],
        service: Service = Service(),
        price: Price | None = None,
        budget: Budget | None = None,
        concurrency: int = 8,
        drop: Collection[str] = ("judged_no",),
    ) -> None:
        """`drop`: the rules that are on, of `judged_no` and `not_judged`. Raises `UsageError` where the
        policy is no model behind a server."""
        self.questions = list(questions)
        self.drop = drop
        self._asking = Asking(policy, service, price, budget, concurrency)
        self.meter = self._asking.meter
        self.answers: dict[str, Counter[str]] = {
            question.name: Counter(yes=0, no=0, null=0) for question in questions
        }
        """Verdicts by question."""
        self.counts: Counter[str] = Counter(judged=0, not_judged=0)
        self.first = ""
        """Why the first of those that are not judged is not."""

    @property
    def name(self) -> str:
        return self._asking.policy.name

    def run(self, items: Iterable[tuple[bytes, T]]) -> Iterator[tuple[bytes, T, Drop | None, str]]:
        """Each line with its verdicts, and the reason to drop it, if there is one."""
        for (line, mine), judged in self._asking.run(items, lambda item: self._judged(item[0])):
            self._count(judged)
            why = verdict.refused(judged) if "judged_no" in self.drop else None
            reason: Drop = "judged_no"
            if why is None and "not_judged" in self.drop:
                reason, why = "not_judged", verdict.missing(judged)
            yield verdict.keep(line, judged), mine, None if why is None else reason, why or ""

    @property
    def metrics(self) -> dict[str, float]:
        """What came of each question, and what it took, for a `run` record."""
        found: dict[str, float] = {
            f"{name}_{word}": n for name, counts in self.answers.items() for word, n in counts.items()
        }
        return found | self._asking.metrics

    def tell(self) -> None:
        """What it took, and whether some are not judged."""
        if said := self._asking.spent():
            console.note(said)
        if n := self.counts["not_judged"]:
            which = "1 trajectory has" if n == 1 else f"{n} trajectories have"
            remedy = ""
            if self.first.endswith(USED_UP):
                remedy = "; with a larger budget and the same --cache only they are asked about"
            console.warn(f"{which} no verdict on some question; the first: {self.first}{remedy}")

    def __enter__(self) -> Self:
        self._asking.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._asking.__exit__(*error)

    # ---- in the event loop

    async def _judged(self, line: bytes) -> Json:
        """All verdicts on one line."""
        trajectory = expect(decode(line), Trajectory)
        shown = transcript.record(trajectory)
        found: dict[str, Verdict] = {}
        asked: list[Question] = []
        for question in self.questions:
            if moot := question.moot(trajectory):
                found[question.name] = Verdict("yes", moot)
            elif shown is None:
                found[question.name] = Verdict(None, TOO_LONG)
            else:
                asked.append(question)
        if asked and shown is not None:
            found |= await self._answered(shown, asked, _golds(trajectory))
        return {"judge": self.name, **{one.name: found[one.name].to_json() for one in self.questions}}

    async def _answered(self, shown: str, questions: list[Question], golds: list[str]) -> dict[str, Verdict]:
        """One question after the other."""
        found: dict[str, Verdict] = {}
        async with self._asking.room() as room:
            if room is not None:
                with suppress(Spent):
                    for question in questions:
                        found[question.name] = await _ask(room, transcript.asked(shown, question, golds))
                    room.done()
        return {one.name: found.get(one.name, Verdict(None, USED_UP)) for one in questions}

    # ---- in the caller's thread

    def _count(self, judged: Json) -> None:
        answers = {name: one for name, one in judged.items() if isinstance(one, dict)}
        for name, one in answers.items():
            self.answers[name][one["verdict"] or "null"] += 1
        lacking = verdict.missing(judged)
        self.counts["judged" if lacking is None else "not_judged"] += 1
        if lacking is not None:
            self.first = self.first or lacking
        n_told = sum(counts["yes"] + counts["no"] for counts in self.answers.values())
        if not n_told and self.counts["not_judged"] >= BLIND and not self.first.endswith(USED_UP):
            raise RunError(
                f"the first {BLIND} trajectories brought no verdict at all: {self.first}",
                "try another judge; --extra-body may raise max_tokens",
            )


async def _ask(room: Room, messages: list[Json]) -> Verdict:
    """One request."""
    said = await room.ask(messages)
    answer = verdict.read(said.text)
    return Verdict(None, verdict.short(said.trouble)) if answer.verdict is None and said.trouble else answer


def _golds(trajectory: Trajectory) -> list[str]:
    answer = trajectory.task.get("answer")
    return [gold for gold in answer if isinstance(gold, str)] if isinstance(answer, list) else []
