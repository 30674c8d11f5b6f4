"""Counts of an episode: what `eval` averages and a training run logs.

statistics(trajectory)["useful_trials"]    # 2
score_of(judged)                           # the score record
"""

from __future__ import annotations

from tmcli.records import Json, Score, Trajectory
from tmcli.score.calls import repeated
from tmcli.score.parts import Case, forged_turns, unmended


def statistics(trajectory: Trajectory) -> Json:
    """Flat numbers. `errors` are all calls that failed; `errors - invalid_calls` of them reached a tool."""
    case = Case.of(trajectory)
    calls, marks, turns = case.calls, case.marks, trajectory.turns
    return {
        "turns": len(turns),
        "trial_turns": sum(turn["phase"] == "trial" for turn in turns),
        "invalid_turns": sum(turn.get("state", "ok") == "invalid" for turn in turns),
        "forged_turns": forged_turns(trajectory),
        "calls": sum(call.readable for call in calls),
        "errors": sum(not call.ok for call in calls),
        "invalid_calls": sum(not call.readable for call in calls),
        "repeats": repeated(calls),
        "unmended": len(unmended(case)),
        "trials": len(marks) - marks.count("direct"),
        "useful_trials": marks.count("useful_trial"),
        "wasted_trials": marks.count("wasted_trial"),
        "answered": float(trajectory.stop == "answer"),
        "prompt_tokens": trajectory.usage.get("prompt_tokens"),
        "completion_tokens": trajectory.usage.get("completion_tokens"),
    }


SCORED = ("turns", "trials", "useful_trials", "wasted_trials", "prompt_tokens", "completion_tokens")
"""What a score record keeps of them."""


def score_of(trajectory: Trajectory) -> Score:
    """The score record of a judged trajectory: its parts, and the counts that `eval` averages."""
    counted = statistics(trajectory)
    scores: Json = {}
    answer = None
    if trajectory.status == "ok":
        answer = trajectory.scores.get("answer")
        hinted = any(turn.get("hint") for turn in trajectory.turns)
        scores = {
            **trajectory.scores,
            "reward": trajectory.reward,
            **{name: counted[name] for name in SCORED},
            **({"hinted": 1.0} if hinted else {}),
        }
    return Score(
        id=trajectory.id,
        task_id=str(trajectory.task.get("id", "")),
        correct=None if answer is None else answer == 1.0,
        scores=scores,
        calls=counted["calls"],
        errors=counted["errors"],
        stop="infrastructure" if trajectory.status == "invalid" else trajectory.stop,
        tags=trajectory.task.get("tags") or {},
        policy=trajectory.policy,
    )
