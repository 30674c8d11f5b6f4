"""Counts of an episode: what `eval` averages and a training run logs.

statistics(trajectory)["useful_trials"]    # 2
score_of(judged)                           # the score record
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tmcli.meter import Price
from tmcli.prices import price_of
from tmcli.records import Json, Score, Trajectory
from tmcli.score.benchmarks import RIGHT, benchmark
from tmcli.score.information import gained
from tmcli.score.parts import Case, Episode
from tmcli.score.rewards import DEFAULT_WEIGHTS, known_parts, weigh
from tmcli.score.verdicts import judged_right, judged_scores, verdicts_of


def statistics(trajectory: Trajectory) -> Json:
    """Flat numbers, None where nobody knows. `errors` are calls that failed; of them `invalid_calls` could
    not be read and reached no tool, `unmended` were never overcome, and the rest are `recovered`.
    `protocol`: 1 when every turn kept it as written, none made up a reply, and the last one answered."""
    return counts(Case.of(trajectory))


def counts(case: Case) -> Json:
    """The same of an episode that was read before."""
    trajectory, calls, marks, states = case.trajectory, case.calls, case.marks, case.turns.states
    n_errors = sum(not call.ok for call in calls)
    n_invalid = sum(not call.readable for call in calls)
    is_kept = trajectory.stop == "answer" and states.count("ok") == len(states)
    tokens_in, tokens_out = _tokens(trajectory)
    return {
        "turns": len(states),
        "trial_turns": case.turns.n_trials,
        "invalid_turns": states.count("invalid"),
        "forged_turns": case.forged,
        "protocol": float(is_kept and not case.forged),
        "calls": len(calls) - n_invalid,
        "errors": n_errors,
        "invalid_calls": n_invalid,
        "repeats": case.repeats,
        "unmended": case.unmended,
        "recovered": n_errors - n_invalid - case.unmended,
        "direct": marks.count("direct"),
        "trials": len(marks) - marks.count("direct"),
        "useful_trials": marks.count("useful_trial"),
        "wasted_trials": marks.count("wasted_trial"),
        "gained": gained(case),
        "answered": float(trajectory.stop == "answer"),
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "tokens": None if tokens_in is None or tokens_out is None else tokens_in + tokens_out,
        "cost": _cost(trajectory),
        "seconds": _seconds(case.turns.ms),
    }


SCORED = (
    "turns",
    "direct",
    "trials",
    "useful_trials",
    "wasted_trials",
    "gained",
    "recovered",
    "invalid_calls",
    "protocol",
    "prompt_tokens",
    "completion_tokens",
    "tokens",
    "cost",
    "seconds",
)
"""What a score record keeps of them."""


def score_of(trajectory: Trajectory) -> Score:
    """The score record of a judged trajectory: its parts, and the counts that `eval` averages. Where the task
    leaves it to a judge, and one was asked, it is the judge's word whether it was right."""
    case = Case.of(trajectory)
    return _score(case, trajectory.scores, trajectory.reward, verdicts_of(trajectory))


def scored(case: Case, weights: Mapping[str, float] | None = None, verdicts: Json | None = None) -> Score:
    """`score_of(judge(trajectory, weights))`, of an episode that is read only once."""
    if case.trajectory.status == "invalid":
        return _score(case, {}, None)
    scores = known_parts(case)
    return _score(case, scores, weigh(scores, weights or DEFAULT_WEIGHTS), verdicts)


def _score(case: Case, parts: Json, reward: float | None, verdicts: Json | None = None) -> Score:
    counted, trajectory, task = counts(case), case.trajectory, case.task
    scores: Json = {}
    extra: Json = {}
    right: bool | None = None
    if trajectory.status == "ok":
        answer = parts.get("answer")
        right = None if answer is None else answer == 1.0
        theirs = benchmark(case)
        scores = {**parts, **theirs, "reward": reward, **{name: counted[name] for name in SCORED}}
        if right is None:
            right = next((theirs[name] == 1.0 for name in RIGHT if name in theirs), None)
        if case.turns.hinted:
            scores["hinted"] = 1.0
        if verdicts:
            scores |= judged_scores(verdicts)
            told = {name: value for name, value in verdicts.items() if name != "judge"}
            extra = {"judge": verdicts.get("judge"), "verdicts": told}
            if right is None and task.check == "judge":
                right = judged_right(verdicts)
    return Score(
        id=trajectory.id,
        task_id=task.id,
        correct=right,
        scores=scores,
        calls=counted["calls"],
        errors=counted["errors"],
        stop="infrastructure" if trajectory.status == "invalid" else trajectory.stop,
        tags=task.tags,
        policy=trajectory.policy,
        extra=extra,
    )


def _tokens(trajectory: Episode) -> tuple[float | None, float | None]:
    """Of all prompts and of all replies."""
    usage = trajectory.usage
    return _number(usage.get("prompt_tokens")), _number(usage.get("completion_tokens"))


def _cost(trajectory: Episode) -> float | None:
    """USD, as the episode counted it, else by the table of prices where the policy's name tells who sold it.
    None is not 0: most models have no price that anybody knows here."""
    counted = _number(trajectory.usage.get("cost"))
    if counted is not None:
        return counted
    tokens_in, tokens_out = _tokens(trajectory)
    price = _price(str(trajectory.policy.get("name") or ""))
    if price is None or tokens_in is None or tokens_out is None:
        return None
    return round(price.of(tokens_in, tokens_out), 10)


@lru_cache(maxsize=64)
def _price(policy: str) -> Price | None:
    # a name without its address means another server in another environment: no pure function can tell
    return price_of(policy) if "@http" in policy else None


def _seconds(ms: list[Any]) -> float | None:
    """Wall time of the replies and of the tools, where each turn has both (`--timed`)."""
    spent = [_number(value) for value in ms]
    known = [ms for ms in spent if ms is not None]
    return round(sum(known) / 1000, 6) if known and len(known) == len(spent) else None


def _number(value: object) -> float | None:
    """What may be anything in a record of others, as a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
