"""What one pass over the scores keeps, and what is told of it in the end.

books = Books(["split", "drift"], ks=None, compares=True)
for file, score in judged:
    books.add(score, file)
metrics = books.metrics()       # for the run record
books.tables(); books.notes()   # for a person
books.checked(limits)           # for a CI server
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tmcli.errors import UsageError
from tmcli.records import Json, Score
from tmcli.report.comparable import Terms, differing, refuse
from tmcli.report.compare import Comparison, by_group, compare
from tmcli.report.matrix import Matrix
from tmcli.report.matrix import table as matrix_table
from tmcli.report.seeds import Family, families
from tmcli.report.summary import Cell, Summary, order
from tmcli.report.table import Table, comparison_table, seeds_table, table, told
from tmcli.report.tally import Tally, added
from tmcli.report.thresholds import Outcome, Threshold, checked, number

if TYPE_CHECKING:  # XML is loaded where it is asked for
    from tmcli.report.junit import JUnit


class Books:
    """The numbers of all files: together, and each against the first."""

    def __init__(
        self,
        by: Sequence[str],
        ks: Sequence[int] | None = None,
        *,
        compares: bool = False,
        anyway: bool = False,
        together: bool = False,
        cases: JUnit | None = None,
    ) -> None:
        """`compares`: the files are; `anyway`: also where they do not compare. `together`: the files are one
        policy with several seeds. `cases`: where each episode becomes a test case."""
        self.summary = Summary(by, ks)
        self.compares = compares
        self.anyway = anyway
        self.together = together
        self.cases = cases
        self.matrix = Matrix()
        self.terms: dict[str, Terms] = {}
        self._comparisons: dict[str, Comparison] | None = None

    def add(self, score: Score, file: str = "") -> None:
        self.summary.add(score, file)
        self.matrix.add(score, file)
        if file not in self.terms:
            self.terms[file] = Terms()
        self.terms[file].add(score)
        if self.cases is not None:
            self.cases.add(score, file)

    def families(self) -> list[Family]:
        """Runs that differ in their seed only."""
        return families(self.summary, together=self.together)

    def comparisons(self) -> dict[str, Comparison]:
        """Each file against the first. Raises `UsageError` where they do not compare."""
        if self._comparisons is None:
            first, *others = list(self.terms)
            self._comparisons = {other: self._against(first, other) for other in others if self.compares}
        return self._comparisons

    def _against(self, first: str, other: str) -> Comparison:
        if not self.anyway:
            refuse(self.terms[first], self.terms[other], (first, other))
        a, b = self._cells(first), self._cells(other)
        whole = compare(added(a.values()), added(b.values()))
        return replace(whole, groups=by_group(a, b, self.summary.by) if len(a) > 1 else [])

    def _cells(self, file: str) -> dict[Cell, Tally]:
        """Its cells by the tags alone."""
        found: dict[Cell, list[Tally]] = {}
        for key, tally in self.summary.cells.items():
            if key[0] == file:
                found.setdefault(key[3:], []).append(tally)
        return {cell: added(found[cell]) for cell in sorted(found, key=order)}

    def metrics(self) -> Json:
        """All numbers, for the run record."""
        out = self.summary.metrics()
        if seeds := self.families():
            out["seeds"] = [family.to_json() for family in seeds]
        if rows := self.matrix.rows():
            out["matrix"] = rows
        if self.compares:
            first = next(iter(self.terms))
            out["comparisons"] = [
                {"a": first, "b": other, **one.to_json()} for other, one in self.comparisons().items()
            ]
        return out

    def tables(self) -> list[Table]:
        """The rows, then what drift, seeds and comparisons add."""
        first = next(iter(self.terms))
        drifts = self.matrix.rows()
        return [
            Table("", *table(self.summary.groups())),
            *([Table("under drift", *matrix_table(drifts))] if drifts else []),
            *(seeds_table(family) for family in self.families()),
            *(comparison_table(first, other, one) for other, one in self.comparisons().items()),
        ]

    def notes(self) -> list[str]:
        """The tasks won and lost."""
        first = next(iter(self.terms))
        return [line for other, one in self.comparisons().items() for line in told(first, other, one)]

    def warnings(self) -> list[str]:
        """Files side by side that do not compare, other tasks aside."""
        first, *others = self.terms
        out = []
        for other in others:
            found = differing(self.terms[first], self.terms[other])
            if not self.compares:
                found.pop("tasks", None)
            out += [
                f"{first} and {other} differ in {name} ({one}; {two}): their numbers do not compare"
                for name, (one, two) in found.items()
            ]
        return out

    def checked(self, limits: Sequence[Threshold]) -> list[Outcome]:
        """Each threshold at each file; differences at each comparison. Raises `UsageError`."""
        apart = [limit for limit in limits if ".diff" in limit.metric]
        if apart and not self.compares:
            raise UsageError(f"{apart[0].metric} is a difference of two files", "add --compare")
        outcomes = checked(self.summary.groups(), [limit for limit in limits if limit not in apart])
        for other, one in self.comparisons().items():
            outcomes += [Outcome(limit, other, number(one.numbers(), limit.metric)) for limit in apart]
        return outcomes
