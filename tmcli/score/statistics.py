"""Counts of an episode: what `eval` averages and a training run logs.

statistics(trajectory)["useful_trials"]    # 2
score_of(judged)                           # the score record
"""

from __future__ import annotations

from functools import lru_cache

from tmcli.meter import Price
from tmcli.prices import price_of
from tmcli.records import Json, Score, Trajectory
from tmcli.score.calls import repeated
from tmcli.score.information import gained
from tmcli.score.parts import Case, forged_turns, unmended
from tmcli.score.verdicts import judged_right, judged_scores, verdicts_of


def statistics(trajectory: Trajectory) -> Json:
    """Flat numbers, None where nobody knows. `errors` are calls that failed; of them `invalid_calls` could
    not be read and reached no tool, `unmended` were never overcome, and the rest are `recovered`.
    `protocol`: 1 when every turn kept it as written, none made up a reply, and the last one answered."""
    case = Case.of(trajectory)
    calls, marks, turns = case.calls, case.marks, trajectory.turns
    n_errors = sum(not call.ok for call in calls)
    n_invalid = sum(not call.readable for call in calls)
    n_unmended = len(unmended(case))
    n_forged = forged_turns(case)
    is_kept = trajectory.stop == "answer" and all(turn.get("state", "ok") == "ok" for turn in turns)
    tokens_in, tokens_out = _tokens(trajectory)
    return {
        "turns": len(turns),
        "trial_turns": sum(turn["phase"] == "trial" for turn in turns),
        "invalid_turns": sum(turn.get("state", "ok") == "invalid" for turn in turns),
        "forged_turns": n_forged,
        "protocol": float(is_kept and not n_forged),
        "calls": len(calls) - n_invalid,
        "errors": n_errors,
        "invalid_calls": n_invalid,
        "repeats": repeated(calls, case.keys),
        "unmended": n_unmended,
        "recovered": n_errors - n_invalid - n_unmended,
        "trials": len(marks) - marks.count("direct"),
        "useful_trials": marks.count("useful_trial"),
        "wasted_trials": marks.count("wasted_trial"),
        "gained": gained(case),
        "answered": float(trajectory.stop == "answer"),
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "tokens": None if tokens_in is None or tokens_out is None else tokens_in + tokens_out,
        "cost": _cost(trajectory),
        "seconds": _seconds(turns),
    }


SCORED = (
    "turns",
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
    counted = statistics(trajectory)
    scores: Json = {}
    extra: Json = {}
    right: bool | None = None
    if trajectory.status == "ok":
        answer = trajectory.scores.get("answer")
        right = None if answer is None else answer == 1.0
        hinted = any(turn.get("hint") for turn in trajectory.turns)
        scores = {
            **trajectory.scores,
            "reward": trajectory.reward,
            **{name: counted[name] for name in SCORED},
            **({"hinted": 1.0} if hinted else {}),
        }
        if verdicts := verdicts_of(trajectory):
            scores |= judged_scores(verdicts)
            told = {name: value for name, value in verdicts.items() if name != "judge"}
            extra = {"judge": verdicts.get("judge"), "verdicts": told}
            if right is None and trajectory.task.get("check") == "judge":
                right = judged_right(verdicts)
    return Score(
        id=trajectory.id,
        task_id=str(trajectory.task.get("id", "")),
        correct=right,
        scores=scores,
        calls=counted["calls"],
        errors=counted["errors"],
        stop="infrastructure" if trajectory.status == "invalid" else trajectory.stop,
        tags=trajectory.task.get("tags") or {},
        policy=trajectory.policy,
        extra=extra,
    )


def _tokens(trajectory: Trajectory) -> tuple[float | None, float | None]:
    """Of all prompts and of all replies."""
    usage = trajectory.usage
    return _number(usage.get("prompt_tokens")), _number(usage.get("completion_tokens"))


def _cost(trajectory: Trajectory) -> float | None:
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


def _seconds(turns: list[Json]) -> float | None:
    """Wall time of the replies and of the tools, where each turn has both (`--timed`)."""
    spent = [_number(turn.get(name)) for turn in turns for name in ("ms", "tools_ms")]
    known = [ms for ms in spent if ms is not None]
    return round(sum(known) / 1000, 6) if known and len(known) == len(spent) else None


def _number(value: object) -> float | None:
    """What may be anything in a record of others, as a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
