"""Who proposes and who solves: one runner, or two where the solver is another model.

    crew = Crew(teacher, solver, limits)
    crew.propose(tasks)                     # proposals, as trajectories by task id
    crew.guess(tasks), crew.solve(tasks, 4)

The phases come one after the other, so two meters can keep one budget: each may use what the other left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tmcli import signals
from tmcli.episode import Limits
from tmcli.meter import Budget
from tmcli.records import Task, Trajectory
from tmcli.runner import Runner, jobs

GUESSES = 2
"""Answers without tools that each question must stand."""


@dataclass
class Crew:
    """Runners, and how long their episodes may be."""

    teacher: Runner
    solver: Runner
    """May be the same."""
    limits: Limits
    """Of a solve: the prompt that is trained, `trial`."""
    budget: Budget = field(default_factory=Budget)
    """Of both together."""
    doing: str = ""
    """What goes on, in a word."""
    heard: Callable[[], None] = lambda: None
    """Called for every episode that ended."""
    failure: str = ""
    """What broke first, of episodes that broke."""
    stopped: str = field(default="", init=False)
    """Why no more is played, as a sentence."""

    @property
    def runners(self) -> list[Runner]:
        """Both, or the one that is both."""
        return [self.teacher] if self.teacher is self.solver else [self.teacher, self.solver]

    def propose(self, tasks: Iterable[Task]) -> dict[str, Trajectory]:
        """Each task once, by the teacher, under the proposer's prompt."""
        self.doing = "proposing"
        played = self._played(self.teacher, tasks, 1, replace(self.limits, style="propose"))
        return {str(trajectory.task["id"]): trajectory for trajectory in played}

    def guess(self, tasks: Iterable[Task]) -> dict[str, list[Trajectory]]:
        """What the solver says without tools."""
        self.doing = "guessing"
        found: dict[str, list[Trajectory]] = {}
        limits = replace(self.limits, style="closed", max_turns=1)
        for trajectory in self._played(self.solver, tasks, GUESSES, limits):
            found.setdefault(str(trajectory.task["id"]), []).append(trajectory)
        return found

    def solve(self, tasks: Iterable[Task], times: int) -> Iterator[Trajectory]:
        """Each task so many times, in order."""
        self.doing = "solving"
        return self._played(self.solver, tasks, times, self.limits)

    def _played(
        self, runner: Runner, tasks: Iterable[Task], times: int, limits: Limits
    ) -> Iterator[Trajectory]:
        if self.stopped:
            return
        if self.teacher is not self.solver:
            runner.meter.budget = self._left(self.teacher if runner is self.solver else self.solver)
        runner.limits = limits  # one policy, a local model most of all, is not loaded for each phase
        with signals.told_to(runner.stop):
            for trajectory in runner.run(jobs(tasks, times)):
                if trajectory.status == "invalid":
                    self.failure = self.failure or trajectory.failure or "no reason given"
                self.heard()
                yield trajectory
        self.stopped = runner.stopped

    def _left(self, other: Runner) -> Budget:
        """What the budget has for one of two, when the other has used its part."""
        meter, budget = other.meter, self.budget
        return Budget(
            None if budget.usd is None else max(0.0, budget.usd - (meter.usd or 0.0)),
            None if budget.requests is None else max(0, budget.requests - meter.requests),
            None if budget.tokens is None else max(0, budget.tokens - meter.tokens),
        )
