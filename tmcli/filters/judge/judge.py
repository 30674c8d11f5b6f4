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

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

from tmcli import console
from tmcli.errors import PolicyFailure, RunError, Spent, UsageError
from tmcli.filters.inorder import InOrder
from tmcli.filters.judge import transcript, verdict
from tmcli.filters.judge.estimate import MAX_NEW_TOKENS
from tmcli.filters.judge.questions import Question
from tmcli.filters.judge.verdict import Verdict
from tmcli.ledger import spent
from tmcli.meter import Budget, Meter, Price
from tmcli.policies import Sampling, Service, is_local
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.dialect import refused
from tmcli.policies.openai.outcomes import Unfit, finish
from tmcli.policies.openai.speech import listen
from tmcli.policies.openai.usage import tokens
from tmcli.records import Drop, Json, Trajectory, decode, expect

T = TypeVar("T")

BLIND = 16
"""So many trajectories at the start without a single verdict stop the run: it costs, and brings nothing."""
USED_UP = "not asked: the budget is used up"


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
        if policy == "scripted" or is_local(policy):
            raise UsageError(
                f"--judge {policy}: a judge is a model behind a server",
                "name one as gpt-4o or MODEL@URL; vllm serve and llama-server make one of a local model",
            )
        self.questions = list(questions)
        self.drop = drop
        self.meter = Meter(price, budget or Budget())
        self.answers: dict[str, Counter[str]] = {
            question.name: Counter(yes=0, no=0, null=0) for question in questions
        }
        """Verdicts by question."""
        self.counts: Counter[str] = Counter(judged=0, not_judged=0)
        self.first = ""
        """Why the first of those that are not judged is not."""
        self._policy = OpenAI(
            policy, Sampling(max_new_tokens=MAX_NEW_TOKENS), service=service, meter=self.meter
        )
        self._many = InOrder(self._policy.aclose, concurrency)
        self._running = 0
        self._ended = asyncio.Event()

    @property
    def name(self) -> str:
        return self._policy.name

    def run(self, items: Iterable[tuple[bytes, T]]) -> Iterator[tuple[bytes, T, Drop | None, str]]:
        """Each line with its verdicts, and the reason to drop it, if there is one."""
        for (line, mine), judged in self._many.run(items, lambda item: self._judged(item[0])):
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
        meter = self.meter
        found |= {"requests": meter.requests, "cached": meter.cached}
        found |= {"prompt_tokens": meter.prompt_tokens, "completion_tokens": meter.completion_tokens}
        return found if meter.usd is None else found | {"usd": round(meter.usd, 10)}

    def tell(self) -> None:
        """What it took, and whether some are not judged."""
        if said := spent(self.meter):
            console.note(f"--judge {self.name}: {said}")
        if n := self.counts["not_judged"]:
            which = "1 trajectory has" if n == 1 else f"{n} trajectories have"
            remedy = ""
            if self.first.endswith(USED_UP):
                remedy = "; with a larger budget and the same --cache only they are asked about"
            console.warn(f"{which} no verdict on some question; the first: {self.first}{remedy}")

    def __enter__(self) -> Self:
        self._many.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._many.__exit__(*error)

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
                found[question.name] = Verdict(None, "not asked: the record is too long to be shown whole")
            else:
                asked.append(question)
        if asked and shown is not None:
            found |= await self._answered(shown, asked, _golds(trajectory))
        return {"judge": self.name, **{one.name: found[one.name].to_json() for one in self.questions}}

    async def _answered(self, shown: str, questions: list[Question], golds: list[str]) -> dict[str, Verdict]:
        """One question after the other, of one server: it knows the record by then."""
        if not await self._room():
            return {question.name: Verdict(None, USED_UP) for question in questions}
        found: dict[str, Verdict] = {}
        stick = self._policy.stick()
        used: list[tuple[int, int]] = []
        try:
            for question in questions:
                try:
                    messages = transcript.asked(shown, question, golds)
                    found[question.name] = await self._ask(messages, stick, used)
                except Spent:
                    break
        finally:
            self._running -= 1
            self._ended.set()
        if len(used) == len(questions):
            self.meter.took(len(used), sum(n for n, _ in used), sum(n for _, n in used))
        return {one.name: found.get(one.name, Verdict(None, USED_UP)) for one in questions}

    async def _ask(self, messages: list[Json], stick: Any, used: list[tuple[int, int]]) -> Verdict:
        """One request; raises `Spent`, and what a wrong set-up raises."""
        policy = self._policy
        try:
            choice = await policy.dialect.ask(policy, lambda _: {"messages": messages}, 0, stick)
        except Unfit as unfit:
            return Verdict(None, verdict.short(str(refused(unfit, "text"))))
        except PolicyFailure as failure:
            return Verdict(None, verdict.short(str(failure)))
        used.append(tokens(choice))
        speech = listen(choice)
        answer = verdict.read(speech.said)
        if answer.verdict is None:
            ended = finish(choice.get("finish_reason"), speech.refusal)
            if ended == "refusal":
                return Verdict(None, verdict.short(f"it refused: {speech.refusal}"))
            if ended == "length":
                return Verdict(None, "its reply was cut before a verdict")
        return answer

    async def _room(self) -> bool:
        """Wait until the budget has room for one more trajectory; False: it is used up."""
        while not self.meter.has_room(self._running):
            if not self._running:
                return False
            self._ended.clear()
            await self._ended.wait()
        self._running += 1
        return True

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


def _golds(trajectory: Trajectory) -> list[str]:
    answer = trajectory.task.get("answer")
    return [gold for gold in answer if isinstance(gold, str)] if isinstance(answer, list) else []
