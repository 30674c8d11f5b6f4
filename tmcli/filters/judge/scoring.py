"""`tm eval --judge MODEL@URL`: a model says of each episode whether its query was solved, several times.

    with Scoring("gpt-4o", n=3) as judge:
        for trajectory in judge.run(trajectories): ...      # each with `verdicts`, in order
    judge.tell()

One judging is at most two requests (see `solved.py`), with a seed of its own, so that a cache keeps all n
apart. What the n differ by is the judge's noise, not the policy's. Episodes in which the world broke, and
score records, pass as they are. A request that fails, a reply that says no status and a budget that is used
up leave null: nobody knows, which is not Unsolved. A server that is gone for good ends the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from tmcli import console
from tmcli.errors import RunError, Spent
from tmcli.filters.judge import solved, transcript, verdict
from tmcli.filters.judge.asking import BLIND, TOO_LONG, USED_UP, Asking, Room
from tmcli.filters.judge.solved import Status
from tmcli.meter import Budget, Price
from tmcli.policies import Service
from tmcli.policies.openai.names import split
from tmcli.records import AnyRecord, Json, Trajectory
from tmcli.score.verdicts import KEY

DEFAULT_N = 3
"""Judgings: as many as StableToolBench's README averages."""


@dataclass
class _Asked:
    """What was asked about one episode so far."""

    statuses: list[Status]
    right: list[str | None] | None = None
    trials: list[str | None] | None = None


class Scoring:
    """One judge, for all episodes of a run. Raises `UsageError` where it is no model behind a server."""

    def __init__(
        self,
        policy: str,
        n: int = DEFAULT_N,
        *,
        trials: bool = False,
        service: Service = Service(),
        price: Price | None = None,
        budget: Budget | None = None,
        concurrency: int = 8,
    ) -> None:
        """`trials`: ask also whether each trial was useful."""
        self.n = n
        self.trials = trials
        self._asking = Asking(policy, service, price, budget, concurrency)
        self.meter = self._asking.meter
        settings = self._asking.policy.settings
        self.identity: Json = {
            "model": split(policy)[0],
            "rules": solved.rules(),
            "temperature": settings.temperature,
            **({"extra_body": service.extra_body} if service.extra_body else {}),
        }
        """Who judges, and how: numbers of judges that differ in it are not to be compared."""
        self.counts: Counter[str] = Counter()
        """Statuses; null: a judging without one."""
        self._episodes = 0
        self._told = 0
        """Judgings in which the model said something."""
        self.first = ""
        """Why the first judging without a status has none."""

    def run(self, records: Iterable[AnyRecord]) -> Iterator[AnyRecord]:
        """The records, trajectories with their verdicts."""
        for record, verdicts in self._asking.run(records, self._judged):
            if verdicts is None or not isinstance(record, Trajectory):
                yield record
                continue
            self._count(verdicts)
            yield replace(record, extra={**record.extra, KEY: verdicts})

    @property
    def metrics(self) -> Json:
        """For a `run` record."""
        return {
            **self.identity,
            "n": self.n,
            "statuses": dict(sorted(self.counts.items())),
            **self._asking.metrics,
        }

    def tell(self) -> None:
        """What it took, and whether something is not judged."""
        if said := self._asking.spent():
            console.note(said)
        if n := self.counts["null"]:
            remedy = ""
            if self.first == USED_UP:
                remedy = "; with a larger budget and the same --judge-cache only they are made"
            judgings = "1 judging has" if n == 1 else f"{n} judgings have"
            console.warn(f"{judgings} no verdict; the first: {self.first}{remedy}")

    def __enter__(self) -> Self:
        self._asking.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._asking.__exit__(*error)

    # ---- in the event loop

    async def _judged(self, record: AnyRecord) -> Json | None:
        """The verdicts on one episode; None: there is nothing to judge."""
        if not isinstance(record, Trajectory) or record.status == "invalid":
            return None
        asked = _Asked([])
        async with self._asking.room() as room:
            if room is not None:
                with suppress(Spent):
                    await self._ask(room, record, asked)
                    room.done()
        statuses = asked.statuses + [Status(None, USED_UP)] * (self.n - len(asked.statuses))
        found: Json = {"judge": self.identity, "solved": [one.status for one in statuses]}
        if solved.has_golds(record):
            right = asked.right or []
            found["right"] = right + [None] * (self.n - len(right))
        if self.trials:
            n_trials = len(transcript.trials(record))
            found["trials"] = [None] * n_trials if asked.trials is None else asked.trials
        return {**found, "why": [one.why for one in statuses]}

    async def _ask(self, room: Room, trajectory: Trajectory, asked: _Asked) -> None:
        """All judgings of one episode, one after the other. Raises `Spent` when the budget is used up."""
        shown = transcript.record(trajectory)
        for seed in range(self.n):
            asked.statuses.append(await _status(room, trajectory, shown, seed))
        if solved.has_golds(trajectory) and shown is not None:
            asked.right = []
            for seed in range(self.n):
                said = await room.ask(solved.of_golds(trajectory, shown), seed)
                asked.right.append(verdict.read(said.text).verdict)
        calls = transcript.trials(trajectory) if self.trials else []
        if calls and shown is not None:
            said = await room.ask(solved.of_trials(shown, calls))
            asked.trials = solved.trials(said.text, len(calls))

    # ---- in the caller's thread

    def _count(self, verdicts: Json) -> None:
        self._episodes += 1
        for word, why in zip(verdicts["solved"], verdicts["why"], strict=True):
            self.counts[word or "null"] += 1
            self._told += word is not None and why != solved.NO_ANSWER
            if word is None:
                self.first = self.first or why
        if self._episodes >= BLIND and not self._told and self.counts["null"] and self.first != USED_UP:
            raise RunError(
                f"the first {BLIND} episodes brought no verdict at all: {self.first}",
                "try another judge; --judge-body may raise max_tokens",
            )


async def _status(room: Room, trajectory: Trajectory, shown: str | None, seed: int) -> Status:
    """One judging."""
    if not (trajectory.prediction or "").strip():
        return Status("Unsolved", solved.NO_ANSWER)
    found = await _read(room, solved.of_answer(trajectory), seed)
    if found.status != "Unsure":
        return found
    if shown is None:
        return Status("Unsure", TOO_LONG)
    return await _read(room, solved.of_record(shown), seed)


async def _read(room: Room, messages: list[Json], seed: int) -> Status:
    said = await room.ask(messages, seed)
    found = solved.status(said.text)
    return Status(None, verdict.short(said.trouble)) if found.status is None and said.trouble else found
