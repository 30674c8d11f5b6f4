"""Let a policy play tasks, and judge what it did."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from tmcli.records import Task, Trajectory
from tmcli.runner import Runner, jobs
from tmcli.score import judge


def rollout(
    tasks: Iterable[Task], runner: Runner, samples: int = 1, done: Container[str] = ()
) -> Iterator[Trajectory]:
    """Each task `samples` times, in order, judged; trajectory ids in `done` are left out."""
    return map(judge, runner.run(jobs(tasks, samples, done)))
