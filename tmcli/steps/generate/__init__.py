"""Tasks for any tools: a teacher asks, independent solves answer, and what they agree on is kept.

    for outcome in generate(catalog, crew, n=500, seed=0, agree=Agree(3, 4), settled=book.settled):
        outcome.task            # kept; or outcome.reason: dropped

Proposals are made in waves. Each is an episode of its own in a fresh world: the proposer explores with real
calls, then writes a question with its answer (`plan.py` draws what it is about, `proposal.py` reads it; what
cannot be used is told to it once). Then, cheapest first: nearly the same as an earlier one (`likeness.py`)?
Answered without tools? Answered alike by independent solves (`agreement.py`)? The gold is the proposer's
answer. What a wave holds depends on the seed and on what earlier waves came to, never on time or concurrency;
a proposal that is `settled` already, kept or dropped, is not made again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random

from tmcli.catalog import Catalog
from tmcli.records import Task, Trajectory, digest, new_task
from tmcli.steps.generate.agreement import Agree, judged, known_without_tools
from tmcli.steps.generate.candidate import Candidate, Outcome, Settled, asks, outcome_of, task_of
from tmcli.steps.generate.crew import GUESSES, Crew
from tmcli.steps.generate.likeness import Asked
from tmcli.steps.generate.plan import Draw, draw_for
from tmcli.steps.generate.proposal import UnfitError, read

WAVE = 64
"""Proposals made side by side; fewer where fewer tasks are missing, so none is made that is not wanted."""

MOST = 10
"""Proposals per wanted task, at most."""

BARREN = 64
"""So many proposals in a row of which none was kept end it: the tools seem to have given what they have."""

AVOID = 8
"""Earlier questions that a proposer is told to keep away from."""


def key_of(catalog: Catalog, crew: Crew, seed: int, agree: Agree) -> str:
    """Hash of what shapes a proposal and its verdict; how many are wanted does not."""
    keys = [crew.teacher.key, crew.solver.key]
    return digest([catalog.tools, catalog.env, *keys, seed, agree.least, agree.of])


def generate(
    catalog: Catalog, crew: Crew, n: int, seed: int, agree: Agree, settled: Settled
) -> Iterator[Outcome]:
    """Proposals until `n` tasks are kept, in the order of their numbers; `settled` grows by each.

    Ends early when the crew is stopped, after `MOST` * n proposals, and where `BARREN` in a row were dropped.
    """
    key = key_of(catalog, crew, seed, agree)
    asked = Asked()
    for number in sorted([*settled.kept, *settled.dropped]):
        _remember(asked, settled, number)
    first = barren = 0
    while len(settled.kept) < n and first < max(BARREN, MOST * n) and barren < BARREN:
        before = [settled.kept[number] for number in sorted(settled.kept) if number < first]
        numbers = range(first, first + min(WAVE, n - len(before)))
        missing = [number for number in numbers if not settled.has(number)][: n - len(settled.kept)]
        candidates = [Candidate(draw_for(catalog, seed, number)) for number in missing]
        for candidate in _wave(candidates, crew, before, agree, asked) if candidates else ():
            outcome = outcome_of(candidate, crew, seed, key, agree)
            settled.add(outcome)
            yield outcome
        if crew.stopped:
            return
        kept = any(number in settled.kept for number in numbers)
        barren = 0 if kept else barren + len(numbers)
        first = numbers.stop


def _wave(
    candidates: list[Candidate], crew: Crew, before: list[Task], agree: Agree, asked: Asked
) -> Iterator[Candidate]:
    """Candidates with their verdicts, in order; those are left out that broke or were never played."""
    _propose(candidates, crew, before)
    solvable: list[Candidate] = []
    for candidate in candidates:
        if candidate.proposal is not None and candidate.unfit is None:
            names = [call["name"] for call in candidate.calls]
            like = asked.like(candidate.proposal.query, names)
            if like is None:
                asked.add(candidate.proposal.query, names)
                solvable.append(candidate)
            else:
                candidate.unfit = UnfitError("near_duplicate", f"nearly the same was asked: {like}")
    _guess(solvable, crew)
    unknown = [one for one in solvable if len(one.closed) == GUESSES and one.unfit is None]
    by_task = {task_of(candidate).id: candidate for candidate in unknown}
    waiting = deque(candidates)
    for solve in crew.solve([task_of(candidate) for candidate in unknown], agree.of):
        solved = by_task[str(solve.task["id"])]
        solved.solves.append(solve)
        while waiting and _is_settled(waiting[0], agree):
            yield waiting.popleft()
    for candidate in waiting:
        if _is_settled(candidate, agree, at_last=True):
            yield candidate


def _propose(candidates: list[Candidate], crew: Crew, before: list[Task]) -> None:
    """Have each proposed; what cannot be used is told once, in the same dialogue."""
    tasks = [candidate.draw.task(_avoid(candidate.draw, before)) for candidate in candidates]
    episodes = crew.propose(tasks)
    again: dict[str, Candidate] = {}
    more: list[Task] = []
    for candidate, task in zip(candidates, tasks, strict=True):
        _read(candidate, episodes.get(task.id))
        unfit = candidate.unfit
        if unfit is not None and candidate.episodes[0].stop in ("answer", "no_call", "max_turns"):
            more.append(_told(task, candidate.episodes[0], unfit))
            again[more[-1].id] = candidate
    episodes = crew.propose(more) if more else {}
    for task_id, candidate in again.items():
        assert candidate.unfit is not None
        candidate.told, candidate.unfit = candidate.unfit.sentence, None
        _read(candidate, episodes.get(task_id))


def _read(candidate: Candidate, episode: Trajectory | None) -> None:
    candidate.proposal = None
    if episode is None or episode.status == "invalid":
        return
    candidate.episodes.append(episode)
    try:
        candidate.proposal = read(candidate.episodes)
    except UnfitError as error:
        candidate.unfit, candidate.proposal = error, error.proposal


def _told(task: Task, episode: Trajectory, unfit: UnfitError) -> Task:
    """The same dialogue, to go on with: calls that could not be read are left out with their replies."""
    said = [message for message in episode.messages[1:] if message.get("name") != "invalid"]
    words = f"This cannot be used: {unfit.sentence}. Look again if you need to, then write <answer> again."
    return new_task(
        messages=[*said, {"role": "user", "content": words}],
        tools=task.tools,
        env=task.env,
        answer=[],
        source=task.source,
    )


def _guess(candidates: list[Candidate], crew: Crew) -> None:
    tasks = [
        new_task(
            messages=asks(candidate),
            tools=[],
            env={"kind": "python", "codes": {}},
            answer=[],
            source=f"proposal:{candidate.draw.number}",
        )
        for candidate in candidates
    ]
    guesses = crew.guess(tasks)
    for candidate, task in zip(candidates, tasks, strict=True):
        candidate.closed = [one for one in guesses.get(task.id, []) if one.status == "ok"]
        assert candidate.proposal is not None
        if known_without_tools(candidate.proposal, candidate.closed):
            candidate.unfit = UnfitError("answerable_without_tools", "it was answered without any tool")


def _is_settled(candidate: Candidate, agree: Agree, *, at_last: bool = False) -> bool:
    """Is it decided? Before the end of a wave, all its solves must be there for that."""
    if candidate.unfit is not None:
        return True
    if candidate.proposal is None or len(candidate.closed) < GUESSES:
        return False
    if not at_last and len(candidate.solves) < agree.of:
        return False
    candidate.verdict = judged(candidate.proposal, candidate.solves, candidate.closed, agree)
    return candidate.verdict is not None


# ---- what was asked before ---------------------------------------------------------------------------


def _avoid(draw: Draw, before: list[Task]) -> list[str]:
    """Some earlier questions, those about the same tools first."""
    rng = Random(f"avoid:{draw.number}:{draw.world}")
    shuffled = rng.sample(before, len(before))
    shuffled.sort(key=lambda task: not set(draw.focus) & set(task.extra["provenance"]["focus"]))
    return [str(task.messages[0]["content"])[:300] for task in shuffled[:AVOID]]


def _remember(asked: Asked, settled: Settled, number: int) -> None:
    """Take in a question that was asked in an earlier run: as then, once it was given to solve."""
    task, row = settled.kept.get(number), settled.dropped.get(number, {})
    if task is not None:
        query, provenance = task.messages[0]["content"], task.extra["provenance"]
    elif row.get("drop") in ("answerable_without_tools", "no_agreement", "disputed"):
        query, provenance = row["query"], row["provenance"]
    else:
        return
    asked.add(query, [call["name"] for call in provenance["calls"]])
