"""Held-out tasks, played greedily while a policy is trained: what `--eval-tasks` measures.

    held_out = HeldOut(tasks, runner, weights)
    held_out()                       # {"outcome": 0.41, "reward": ..., "seen/outcome": ...}

Several processes share the tasks, and each gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from tmcli.records import Task
from tmcli.runner import Runner, jobs
from tmcli.score import judge
from tmcli.trainer.tally import Tally

WATCHED = "eval_outcome"
"""What the best weights are chosen by."""


class HeldOut:
    """Called by the trainer, as often as its steps say. The runner's policy is the one in training."""

    def __init__(self, tasks: Sequence[Task], runner: Runner, weights: Mapping[str, float]) -> None:
        self.tasks = tasks
        self.runner = runner
        self.weights = weights

    def __call__(self) -> dict[str, float | None]:
        me, mine = PartialState(), Tally()
        policy: Any = self.runner.policy
        sampling = policy.settings
        policy.settings = replace(sampling, temperature=0.0, top_p=1.0)
        policy.refresh()
        try:
            for trajectory in self.runner.run(
                jobs(self.tasks, shard=(me.process_index + 1, me.num_processes))
            ):
                judged = judge(trajectory, self.weights)
                mine.episode(judged)
                mine.add("outcome", judged.scores.get("outcome"))
                mine.add("reward", judged.reward)
        finally:
            policy.settings = sampling
        whole = Tally()
        for name, sums in gather_object(sorted(mine.sums.items())):
            whole.add(name, *sums)
        return whole.means()
