"""Stops a run in which episodes only break: then the world is down, and nothing is learned about the policy.

    index = breaker.began()
    for index, trajectory in breaker.ended(index, trajectory): ...     # what may be written now
    if breaker.error: raise breaker.error
"""

from __future__ import annotations

from collections import deque

from tmcli.errors import RunError
from tmcli.records import Trajectory

BREAKER = 8
"""So many invalid episodes at the very start, and no valid one, stop the run."""

STREAK = 64
"""So many invalid episodes in a row stop it later."""


class Breaker:
    """Goes by the order in which episodes were *started*: broken ones, which end soon, are not held against
    slow ones that go well."""

    def __init__(self) -> None:
        self.error: RunError | None = None
        self.held: list[tuple[int, Trajectory]] = []
        """Broken ones from before the first valid one."""
        self._any_valid = False
        self._streak = 0
        self._first = 0
        self._ends: deque[bool | None] = deque()
        """Of the episodes from `_first` on: was it valid? None: it still runs."""

    def began(self) -> int:
        self._ends.append(None)
        return self._first + len(self._ends) - 1

    def ended(self, index: int, trajectory: Trajectory | None) -> list[tuple[int, Trajectory]]:
        """What may be written now. None: the episode was dropped."""
        broken = trajectory is not None and trajectory.status == "invalid"
        self._ends[index - self._first] = not broken
        while self._ends and self._ends[0] is not None:
            self._streak = 0 if self._ends.popleft() else self._streak + 1
            self._first += 1
        if trajectory is None:
            return []
        if broken:
            self._judge(trajectory.failure or "no reason given")
            if not self._any_valid:
                self.held.append((index, trajectory))
                return []
            return [(index, trajectory)]
        self._any_valid = True
        return [*self.over(), (index, trajectory)]

    def over(self) -> list[tuple[int, Trajectory]]:
        """What was held back, when the run has ended well."""
        held, self.held = self.held, []
        return held

    def _judge(self, failure: str) -> None:
        if not self._any_valid and self._streak >= BREAKER:
            self.error = RunError(
                f"the first {self._streak} episodes all broke: {failure}",
                "mend that and run again; nothing was learned about the policy",
            )
        elif self._streak >= STREAK:
            self.error = RunError(
                f"{self._streak} episodes in a row broke: {failure}",
                "mend that; what is done is kept, --resume continues",
            )
