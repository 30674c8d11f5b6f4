"""The episodes of a report, kept while they are judged: in a temporary file, not in memory.

with Episodes(limit=10_000) as episodes:
    for score in evaluate(episodes.watch(records), ...):
        episodes.add(score, "base")
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from tmcli.records import AnyRecord, Score, Trajectory
from tmcli.report.html.blocks import Blocks
from tmcli.report.html.courses import Course
from tmcli.report.html.faults import kind
from tmcli.report.html.view import row, whole
from tmcli.report.transcript import steps

ROWS, WHOLES = 1000, 64
"""In a block. The list needs all its rows at once; of whole episodes, few are opened."""


class Episodes:
    """At most `limit` episodes to be read; all are counted."""

    def __init__(self, limit: int = 20_000, runs: Sequence[Course] = ()) -> None:
        self.limit = limit
        self.runs = runs
        """Training runs whose curves stand in the report."""
        self.n = 0
        """Episodes judged."""
        self.rows = Blocks(ROWS)
        self.wholes = Blocks(WHOLES, shared="shown")
        self.faults: dict[str, Counter[str]] = {}
        """File or policy -> why its calls failed."""
        self._waiting: deque[Trajectory] = deque()

    @property
    def kept(self) -> int:
        """Episodes that can be read."""
        return min(self.n, self.limit)

    def watch(self, records: Iterable[AnyRecord]) -> Iterator[AnyRecord]:
        """The same records; each trajectory is kept until its score comes, in the same order."""
        for record in records:
            self.keep(record)
            yield record

    def keep(self, record: AnyRecord) -> None:
        """One whose score comes next."""
        if isinstance(record, Trajectory):
            self._waiting.append(record)

    def add(self, score: Score, label: str = "") -> None:
        """The next score; `label` tells its file where there are several."""
        trajectory = self._played(score)
        self.n += 1
        turns = steps(trajectory) if trajectory else []
        mine = self.faults.setdefault(label or str(score.policy.get("name", "-")), Counter())
        mine.update(why for step in turns for call, _ in step.calls if (why := kind(call)))
        if self.n > self.limit:
            return
        self.rows.add(row(score, label, trajectory, turns))
        self.wholes.add(whole(trajectory, score, turns) if trajectory else {"shown": {}})

    def _played(self, score: Score) -> Trajectory | None:
        """Its trajectory; those before it that got no score (they could not be judged) are forgotten."""
        while self._waiting:
            trajectory = self._waiting.popleft()
            if trajectory.id == score.id:
                return trajectory
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.__exit__()
        self.wholes.__exit__()
