"""One cell of the summary: what many episodes add up to, and how sure that is.

    tally.add(score)
    tally.metrics()["accuracy"], tally.metrics()["intervals"]["calls"]

Every number of a score record is averaged over the episodes that have it. Intervals are 95 % ones, with the
task as the cluster: `report/statistics.py`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from tmcli.records import Json, Score
from tmcli.report.judged import noise
from tmcli.report.metrics import APART, MEANS, PASSES, RATIOS, SHARES, TOTALS
from tmcli.report.statistics import Interval, mean_interval, share_interval
from tmcli.score.verdicts import NTH


class Column:
    """One number, by task: in how many samples it was known, and their sum."""

    __slots__ = ("ns", "sums")

    def __init__(self) -> None:
        self.ns = array("d")
        self.sums = array("d")

    def reach(self, n_rows: int) -> None:
        """Make it so long; nothing is known of the new rows."""
        zeros = bytes(8 * max(0, n_rows - len(self.ns)))
        self.ns.frombytes(zeros)
        self.sums.frombytes(zeros)

    def add(self, row: int, value: float, n: float = 1.0) -> None:
        if row == len(self.sums):  # a new task, as most episodes bring
            self.ns.append(n)
            self.sums.append(value)
            return
        if row > len(self.sums):
            self.reach(row + 1)
        self.ns[row] += n
        self.sums[row] += value

    def extend(self, start: int, other: Column) -> None:
        """The rows of `other`, from row `start` on."""
        self.reach(start)
        self.ns.extend(other.ns)
        self.sums.extend(other.sums)


class Tally:
    """Counts of one cell of the table. Cells add up."""

    def __init__(self) -> None:
        self.valid = 0
        self.invalid = 0
        self.stops: Counter[str] = Counter()
        self.rows: dict[str, int] = {}
        """Task -> its place in the columns."""
        self.bases: dict[str, str] = {}
        """Task -> the one it was made of by drift, where it says so."""
        self.columns = {name: Column() for name in ("accuracy", "calls", "errors")}

    def add(self, score: Score) -> None:
        self.stops[score.stop] += 1
        if score.stop == "infrastructure":
            self.invalid += 1
            return
        self.valid += 1
        base = score.tags.get("base")
        if base:
            self.bases[score.task_id] = str(base)
        row = self.rows.setdefault(str(base or score.task_id), len(self.rows))
        columns = self.columns
        for name, value in score.scores.items():
            if isinstance(value, (int, float)):
                if name not in columns:
                    columns[name] = Column()
                columns[name].add(row, value)
        for name, value in (("calls", score.calls), ("errors", score.errors), ("accuracy", score.correct)):
            if value is not None:
                columns[name].add(row, value)

    def merge(self, other: Tally) -> None:
        self.valid += other.valid
        self.invalid += other.invalid
        self.stops.update(other.stops)
        self.bases |= other.bases
        start = len(self.rows)
        rows = [self.rows.setdefault(task, len(self.rows)) for task in other.rows]
        are_new = len(self.rows) == start + len(rows)  # as where no task is in two cells
        for name, column in other.columns.items():
            mine = self.columns.setdefault(name, Column())
            if are_new:
                mine.extend(start, column)
                continue
            for row, n, value in zip(rows, column.ns, column.sums, strict=False):
                mine.add(row, value, n)

    def known(self, name: str) -> int:
        """In how many episodes this number is known."""
        return int(sum(self.columns[name].ns)) if name in self.columns else 0

    def total(self, name: str) -> float:
        """Its sum over them."""
        return sum(self.columns[name].sums) if name in self.columns else 0.0

    def mean(self, name: str) -> float | None:
        known = self.known(name)
        return self.total(name) / known if known else None

    def interval(self, name: str) -> Interval | None:
        """Of the accuracy, of a mean or of a ratio; None where less than two tasks have it."""
        columns = self.columns
        if name in RATIOS:
            part, whole = (columns.setdefault(one, Column()) for one in RATIOS[name])
            part.reach(len(whole.sums))
            whole.reach(len(part.sums))
            found = mean_interval(whole.sums, part.sums)
        elif name not in columns:
            return None
        elif name == "accuracy":
            return share_interval(columns[name].ns, columns[name].sums)
        else:
            found = mean_interval(columns[name].ns, columns[name].sums)
        if found is None or name not in SHARES:
            return found
        return max(0.0, found[0]), min(1.0, found[1])

    def metrics(self, ks: Sequence[int] | None = None) -> Json:
        """The cell's numbers; those that nothing is known about are None."""
        judged = self.known("accuracy")
        intervals: dict[str, Interval | None] = {"accuracy": self.interval("accuracy")}
        out: Json = {
            "n": judged,
            "tasks": sum(map(bool, self.columns["accuracy"].ns)),
            "invalid": self.invalid,
            "unjudged": self.valid - judged,
            "right": int(self.total("accuracy")),
            "accuracy": self.mean("accuracy"),
            "interval": _listed(intervals["accuracy"]),
        }
        for name, (value, interval) in self._passes(ks).items():
            out[name], intervals[name] = value, interval
        judgings = [name for name in self.columns if name.startswith(NTH)]
        others = sorted(self.columns.keys() - {"accuracy", *APART, *MEANS, *judgings})
        for name in (*MEANS, *others):
            out[name], intervals[name] = self.mean(name), self.interval(name)
        out |= noise([mean for name in judgings if (mean := self.mean(name)) is not None])
        for name, (part, whole) in RATIOS.items():
            divisor = self.total(whole)
            out[name] = self.total(part) / divisor if divisor else None
            intervals[name] = self.interval(name)
        if self.valid and self.known("hinted"):  # who had a second chance is not to be compared with others
            out["hinted_share"] = self.known("hinted") / self.valid
        out["totals"] = {
            name: self.total(name) if self.valid and self.known(name) == self.valid else None
            for name in TOTALS
        }
        out["intervals"] = {name: _listed(pair) for name, pair in intervals.items() if pair is not None}
        out["stops"] = dict(sorted(self.stops.items()))
        return out

    @property
    def is_mixed(self) -> bool:
        """Are there tasks under several drifts? Such a task is not the same one, and its episodes are no
        samples of it: there is no pass@k."""
        return len(self.bases) > len(set(self.bases.values()))

    def _passes(self, ks: Sequence[int] | None) -> dict[str, tuple[float, Interval | None]]:
        """pass@k and pass^k with their intervals, over the tasks with at least k samples."""
        if self.is_mixed:
            return {}
        column = self.columns["accuracy"]
        tasks = Counter((int(n), int(c)) for n, c in zip(column.ns, column.sums, strict=True) if n)
        most = max((n for n, _ in tasks), default=0)
        out: dict[str, tuple[float, Interval | None]] = {}
        for prefix, formula in PASSES.items() if most > 1 else ():
            for k in ks if ks is not None else _powers(most):
                values: list[float] = []
                for (n, c), times in tasks.items():
                    values += [formula(n, c, k)] * times if n >= k else []
                if values:
                    samples = sum(n * times for (n, _), times in tasks.items() if n >= k)
                    interval = share_interval([1] * len(values), values, samples)
                    out[f"{prefix}{k}"] = sum(values) / len(values), interval
        return out


def added(tallies: Iterable[Tally]) -> Tally:
    """All of them in one."""
    first, *others = tallies
    if not others:
        return first
    total = Tally()
    for tally in (first, *others):
        total.merge(tally)
    return total


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _powers(most: int) -> list[int]:
    """1, 2, 4 ... up to the number of samples.

    >>> _powers(6)
    [1, 2, 4]
    """
    return [1 << i for i in range(most.bit_length())]
