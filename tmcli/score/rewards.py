"""Rewards: weighted sums of named parts, outcome first.

    judged = judge(trajectory)                                  # `scores` and `reward` filled in
    phase_rewards(judged, {"outcome": 1, "trial": 0.1})         # {"trial": 1.1, "execution": 1.0}

The weights are ours; ToolMaster's are not public.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.protocol import Phase
from tmcli.records import Json, Task, Trajectory, task_of
from tmcli.score.parts import PARTS, Case

OUTCOME = ("outcome", "answer", "solve_p", "solve_r", "solve_f1")
"""Parts that say what came of it. When a reward weighs some and none is known, it is None."""

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "outcome": 1.0,
    "format": 0.1,
    "trial": 0.1,
    "repeat": -0.1,
    "recovery": 0.05,
    "length": -0.05,
    "forged": -0.2,
    "guess": -0.3,
}
"""Outcome first: all the rest together never outweighs a right answer."""


def judge(trajectory: Trajectory, weights: Mapping[str, float] | None = None) -> Trajectory:
    """The trajectory with `scores` (`PARTS`) and `reward` filled in. An `invalid` one gets {} and None.

    A model that writes none of our tags (native calls, then plain text) is judged all the same: its calls
    are execution, its last text is the prediction, so it has its `answer`, `trial` 0, and a `format` that
    only misses the last turn. `exact` takes no sentence: it is right where it says the answer alone.
    """
    if trajectory.status == "invalid":
        return replace(trajectory, scores={}, reward=None)
    scores = known_parts(Case.of(trajectory, task_in(trajectory)))
    return replace(trajectory, scores=scores, reward=weigh(scores, weights or DEFAULT_WEIGHTS))


def known_parts(case: Case) -> Json:
    """All parts that an episode of this task has."""
    parts = PARTS if case.task.subgoals else _WITHOUT_SUBGOALS
    return {name: part.of(case) for name, part in parts.items()}


_WITHOUT_SUBGOALS = {name: part for name, part in PARTS.items() if not name.startswith("solve_")}


def weigh(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted sum of the known parts; None when the outcome is weighed and unknown."""
    outcome = [scores.get(part) for part, weight in weights.items() if part in OUTCOME and weight]
    if outcome and all(part is None for part in outcome):
        return None
    return math.fsum(weight * (scores.get(part) or 0.0) for part, weight in weights.items())


def phase_rewards(
    judged: Trajectory, weights: Mapping[str, float] | None = None
) -> dict[Phase, float | None]:
    """What the trial turns and the execution turns each earned: the outcome and what concerns both counts
    in both, the other parts where `PARTS` says. None for a phase that has no turn, and where there is no
    reward."""
    known = weights or DEFAULT_WEIGHTS
    there = {turn["phase"] for turn in judged.turns} if judged.scores else set()

    def of(phase: Phase) -> float | None:
        mine = {part: weight for part, weight in known.items() if phase in PARTS[part].phases}
        return weigh(judged.scores, mine) if phase in there else None

    return {"trial": of("trial"), "execution": of("execution")}


def parse_weights(text: str) -> dict[str, float]:
    """`outcome=1,format=0.1` -> weights. Raises `UsageError` on an unknown part or no number.

    >>> parse_weights("outcome=1, repeat=-0.2")
    {'outcome': 1.0, 'repeat': -0.2}
    """
    weights: dict[str, float] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        part, _, number = (piece.strip() for piece in item.partition("="))
        if part not in PARTS:
            raise UsageError(f"{part!r} is no part of a reward", did_you_mean(part, PARTS))
        try:
            weights[part] = float(number)
        except ValueError:
            weights[part] = math.nan
        if not math.isfinite(weights[part]):
            raise UsageError(f"the weight of {part} is {number!r}, not a number", f"write {part}=0.5")
    if not weights:
        raise UsageError("there is no weight", "write them as outcome=1,format=0.1")
    return weights


def task_in(trajectory: Trajectory) -> Task:
    """The task of a trajectory. Raises `InputError` that names both."""
    try:
        return task_of(trajectory)
    except InputError as error:
        where = f"task.{error.field}" if error.field else "task"
        raise InputError(f"trajectory {trajectory.id}: {error.problem}", error.remedy, field=where) from error
