"""What episodes tell in numbers, as sums that can be added: over members, groups and processes.

    tally = Tally()
    tally.episode(trajectory)
    tally.add("groups/equal", 1.0)
    tally.sums["reward/answer"]                 # (sum, count): None never counts, and is never a 0

Names, as `metrics.jsonl` has them:

    reward/PART           each part of the reward where it is known, weighed or not
    seen/... unseen/...   outcome and reward by the task's split; drift/... plain/... by its tools
    episodes/...          turns, tokens; the share without a reward; broken: no fault of the policy
    stop/WHY              the share that ended so
    turns/...             of all: invalid (against the protocol), forged (with a made-up tool reply)
    calls/...             made an episode; of all: errors, and invalid ones, which could not even be read
    trials/...            made an episode; of all: useful or wasted
    groups/...            equal: all rewards alike; skipped: fewer than two rewards; resampled: played again
    generation/...        seconds of all episodes, and sampled tokens a second
    update/seconds        of the step's passes over them
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from tmcli.records import Json, Stop, Trajectory
from tmcli.score import statistics


class Tally:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: float | None, count: float = 1.0) -> None:
        """One more value, or `count` values that sum up to it."""
        before, n = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before, n) if value is None else (before + value, n + count)

    def means(self) -> dict[str, float | None]:
        return {name: total / n if n else None for name, (total, n) in self.sums.items()}

    def episode(self, trajectory: Trajectory) -> None:
        """One judged episode."""
        broken = trajectory.status == "invalid"
        self.add("episodes/no_reward", float(trajectory.reward is None))
        self.add("episodes/broken", float(broken))
        for side in _sides(trajectory.task.get("tags") or {}):
            self.add(f"{side}/reward", trajectory.reward)
            self.add(f"{side}/outcome", trajectory.scores.get("outcome"))
        if broken:
            return
        for part, value in trajectory.scores.items():
            self.add(f"reward/{part}", value)
        for why in get_args(Stop):
            if why != "infrastructure":
                self.add(f"stop/{why}", float(trajectory.stop == why))
        self.add("episodes/turns", float(len(trajectory.turns)))
        if trajectory.tokens is not None:
            self.add("episodes/tokens", len(trajectory.tokens["ids"]))
            self.add("episodes/sampled_tokens", sum(trajectory.tokens["mask"]))
        self._calls(trajectory)

    def _calls(self, trajectory: Trajectory) -> None:
        counted = statistics(trajectory)
        made = counted["calls"] + counted["invalid_calls"]
        self.add("calls/made", made)
        self.add("calls/error_rate", counted["errors"], made)
        self.add("calls/invalid_rate", counted["invalid_calls"], made)
        self.add("turns/invalid_rate", counted["invalid_turns"], counted["turns"])
        self.add("turns/forged_rate", counted["forged_turns"], counted["turns"])
        trials = counted["trials"]
        self.add("trials/made", trials)
        self.add("trials/useful_rate", counted["useful_trials"], trials)
        self.add("trials/wasted_rate", counted["wasted_trials"], trials)


def _sides(tags: Json) -> Iterator[str]:
    if tags.get("split") in ("seen", "unseen"):
        yield tags["split"]
    if "drift" in tags:
        yield "drift" if tags["drift"] else "plain"
