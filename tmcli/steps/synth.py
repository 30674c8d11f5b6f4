"""Let a teacher play tasks, and judge what it did. Right and wrong alike are kept: `filter` chooses.

A teacher is any policy. What makes it one is told elsewhere: the expert reads the task's plan, a server's
model is told the whole method (`prompts/teacher.txt`), and the record shows the student's prompt to both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from tmcli.records import Task, Trajectory
from tmcli.runner import Runner, jobs
from tmcli.score import judge


def synth(
    tasks: Iterable[Task], runner: Runner, samples: int = 1, done: Container[str] = ()
) -> Iterator[Trajectory]:
    """Each task `samples` times, in order, judged; trajectory ids in `done` are left out."""
    return map(judge, runner.run(jobs(tasks, samples, done)))
