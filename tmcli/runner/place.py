"""A job among others: how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tmcli.records import Trajectory
from tmcli.runner.jobs import Job


@dataclass(slots=True, eq=False)
class Place:
    """A job's place in the order, and how far it is."""

    job: Job
    started: int = 0
    running: int = 0
    correct: int = 0
    given: int = 0
    ended: dict[int, Trajectory | None] = field(default_factory=dict)
    """Position in the job's samples -> what came of it, until it is given."""

    @property
    def startable(self) -> bool:
        """May one more sample start?"""
        job = self.job
        return self.started < len(job.samples) and job.may_start(
            job.samples[self.started], self.running + self.correct
        )

    @property
    def over(self) -> bool:
        return not self.running and not self.startable
