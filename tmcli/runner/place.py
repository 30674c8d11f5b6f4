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
        """May one more sample start? With `enough`, only one that a run of one after the other would play
        too: as many at once as right ones are missing. So what is played does not depend on the concurrency
        or on where a run was stopped."""
        enough = self.job.enough
        return self.started < len(self.job.samples) and (
            enough is None or self.running < enough - self.job.correct - self.correct
        )

    @property
    def over(self) -> bool:
        return not self.running and not self.startable
