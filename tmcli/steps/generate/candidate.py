"""One proposal on its way: what was said for it and about it, and the record it becomes.

    candidate = Candidate(draw)             # `generate` fills it in, phase by phase
    outcome = outcome_of(candidate, crew, seed, key, agree)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata

import orjson

from tmcli.records import Json, Task, Trajectory
from tmcli.score import made
from tmcli.steps.generate.agreement import Agree, Verdict
from tmcli.steps.generate.crew import Crew
from tmcli.steps.generate.plan import Draw
from tmcli.steps.generate.proposal import Proposal, Reason, UnfitError

MAX_CALLS = 20
MAX_SAID_CHARS = 1000
"""What of a proposer is kept."""


@dataclass
class Outcome:
    """What one proposal came to."""

    number: int
    task: Task | None = None
    """Kept."""
    reason: Reason | None = None
    """Dropped."""
    row: Json = field(default_factory=dict)
    """The dropped proposal: a question that `tm tasks FILE --tools SOURCE` takes, once it is mended."""


@dataclass
class Settled:
    """Proposals that are kept or dropped already, by number."""

    kept: dict[int, Task] = field(default_factory=dict)
    dropped: dict[int, Json] = field(default_factory=dict)

    def has(self, number: int) -> bool:
        return number in self.kept or number in self.dropped

    def add(self, outcome: Outcome) -> None:
        if outcome.task is not None:
            self.kept[outcome.number] = outcome.task
        else:
            self.dropped[outcome.number] = outcome.row


@dataclass
class Candidate:
    """A proposal on its way."""

    draw: Draw
    episodes: list[Trajectory] = field(default_factory=list)
    """The proposer's, and how it went on when it was told."""
    proposal: Proposal | None = None
    told: str | None = None
    """What the proposer was told about its first try."""
    unfit: UnfitError | None = None
    closed: list[Trajectory] = field(default_factory=list)
    solves: list[Trajectory] = field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def calls(self) -> list[Json]:
        """What the proposer called with success."""
        calls = [call for episode in self.episodes for call in made(episode)]
        done = [{"name": call.name, "arguments": call.arguments} for call in calls if call.ok]
        return [call for call in done if len(orjson.dumps(call)) <= MAX_SAID_CHARS][:MAX_CALLS]


def outcome_of(candidate: Candidate, crew: Crew, seed: int, key: str, agree: Agree) -> Outcome:
    number, verdict, unfit = candidate.draw.number, candidate.verdict, candidate.unfit
    provenance = _provenance(candidate, crew, seed, key)
    if unfit is None and verdict is not None and verdict.reason is None:
        hops = {"hops": verdict.hops}
        return Outcome(number, task_of(candidate, tags=hops, extra={"provenance": provenance}))
    row: Json = {"proposal": number}
    if unfit is not None:
        reason, why = unfit.reason, unfit.sentence
    else:
        assert verdict is not None
        assert verdict.reason is not None
        reason, why = verdict.reason, _why(verdict, agree)
    row |= {"drop": reason, "why": why}
    if candidate.proposal is not None:
        proposal = candidate.proposal
        row |= {"query": proposal.query, "answer": proposal.answer, "check": proposal.check}
    else:
        row["said"] = (candidate.episodes[-1].prediction or "")[:MAX_SAID_CHARS]
    row |= {"seed": candidate.draw.world, "provenance": provenance}
    return Outcome(number, reason=reason, row=row)


def _why(verdict: Verdict, agree: Agree) -> str:
    match verdict.reason:
        case "answerable_without_tools":
            return "it was answered without calling a tool"
        case "disputed":
            return f"the solves agree on another answer: {verdict.answers[0][0]}"
        case _:
            return f"{verdict.agreement} solves agree with the proposer, and {agree.least} must"


def _provenance(candidate: Candidate, crew: Crew, seed: int, key: str) -> Json:
    """Where a proposal comes from, and who agreed. Its calls are what the proposer did, not a plan: nobody
    proved them."""
    draw, verdict = candidate.draw, candidate.verdict
    out: Json = {
        "teacher": crew.teacher.policy.name,
        "solver": crew.solver.policy.name,
        "proposal": draw.number,
        "seed": seed,
        "kind": draw.kind,
        "focus": draw.focus,
        "calls": candidate.calls,
    }
    if candidate.told is not None:
        out["told"] = candidate.told
    if candidate.closed:
        out["without_tools"] = [(one.prediction or "")[:200] for one in candidate.closed]
    if verdict is not None:
        out |= {"agreement": verdict.agreement, "answers": [list(pair) for pair in verdict.answers]}
        if candidate.proposal is not None:
            out["answer"] = candidate.proposal.answer
    return out | {"tm": metadata.version("tmcli"), "key": key}


def task_of(candidate: Candidate, **more: object) -> Task:
    """The task of a proposal: what is solved is what is kept."""
    assert candidate.proposal is not None
    draw, proposal = candidate.draw, candidate.proposal
    return draw.catalog.task(
        draw.world,
        messages=asks(candidate),
        tools=draw.tools,
        answer=[proposal.answer],
        check=proposal.check,
        source=f"generate:{draw.catalog.source}",
        **more,
    )


def asks(candidate: Candidate) -> list[Json]:
    assert candidate.proposal is not None
    return [{"role": "user", "content": candidate.proposal.query}]
