"""Many score records -> few numbers, in one pass: what `tm eval` says.

Invalid episodes (the world broke) and unjudged ones (nobody knows) are counted apart; neither is in
the denominator of the accuracy. The memory it takes grows with the number of tasks, not of episodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmcli.records import Json, Score
from tmcli.report.statistics import pass_at_k, wilson

MEANS = {
    "calls": "calls",
    "errors": "errors",
    "turns": "turns",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "reward": "reward",
    "format": "format",
    "repeat": "repeat",
    "solve_p": "solve_p",
    "solve_r": "solve_r",
    "solve_f1": "solve_f1",
}
"""Metric -> the part of the score it is the mean of, over the episodes that have it."""

METRICS = ("accuracy", *MEANS, "trial_share", "useful_share", "wasted_share")
"""Metrics that are one number each; `pass@K` comes with several samples a task."""

Cell = tuple[str, ...]


@dataclass
class Tally:
    """Counts of one cell of the table. Cells add up."""

    valid: int = 0
    invalid: int = 0
    unjudged: int = 0
    right: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    """Sum of each number of the score records."""
    known: Counter[str] = field(default_factory=Counter)
    """In how many of them it was known."""
    tasks: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    """(file, policy, task) -> judged samples, right ones."""
    stops: Counter[str] = field(default_factory=Counter)

    def add(self, score: Score, task: tuple[str, str, str]) -> None:
        self.stops[score.stop] += 1
        if score.stop == "infrastructure":
            self.invalid += 1
            return
        self.valid += 1
        for name, value in {**score.scores, "calls": score.calls, "errors": score.errors}.items():
            if isinstance(value, (int, float)):
                self.sums[name] += value  # type: ignore[assignment]  # a Counter adds floats as well
                self.known[name] += 1
        if score.correct is None:
            self.unjudged += 1
            return
        n, c = self.tasks.get(task, (0, 0))
        self.tasks[task] = (n + 1, c + score.correct)
        self.right += score.correct

    def merge(self, other: Tally) -> None:
        self.valid += other.valid
        self.invalid += other.invalid
        self.unjudged += other.unjudged
        self.right += other.right
        self.sums.update(other.sums)
        self.known.update(other.known)
        self.stops.update(other.stops)
        for task, (n, c) in other.tasks.items():
            before = self.tasks.get(task, (0, 0))
            self.tasks[task] = (before[0] + n, before[1] + c)

    def metrics(self, ks: Sequence[int] | None = None) -> Json:
        """The cell's numbers; those that nothing is known about are None."""
        judged = self.valid - self.unjudged
        n_tasks = len(self.tasks)
        accuracy = self.right / judged if judged else None
        out: Json = {
            "n": judged,
            "tasks": n_tasks,
            "invalid": self.invalid,
            "unjudged": self.unjudged,
            "right": self.right,
            "accuracy": accuracy,
            # samples of one task are not independent: the interval counts tasks
            "interval": None if accuracy is None else list(wilson(accuracy * n_tasks, n_tasks)),
        }
        most = max((n for n, _ in self.tasks.values()), default=0)
        for k in ks if ks is not None else _powers(most):
            enough = [(n, c) for n, c in self.tasks.values() if n >= k]
            if most > 1 and enough:
                out[f"pass@{k}"] = sum(pass_at_k(n, c, k) for n, c in enough) / len(enough)
        for metric, part in MEANS.items():
            out[metric] = self.sums[part] / self.known[part] if self.known[part] else None
        calls, trials = self.sums["calls"], self.sums["trials"]
        out["trial_share"] = trials / calls if calls else None
        out["useful_share"] = self.sums["useful_trials"] / trials if trials else None
        out["wasted_share"] = self.sums["wasted_trials"] / trials if trials else None
        if self.valid and self.known["hinted"]:  # who had a second chance is not to be compared with others
            out["hinted_share"] = self.known["hinted"] / self.valid
        out["stops"] = dict(sorted(self.stops.items()))
        return out


@dataclass(frozen=True)
class Group:
    """One row: what tells it from the others, and its numbers. A `total` row adds up a whole file."""

    by: dict[str, str]
    metrics: Json
    total: bool = False


class Summary:
    """Add scores one by one, then ask for the rows."""

    def __init__(self, by: Sequence[str], ks: Sequence[int] | None = None) -> None:
        self.by = list(by)
        self.ks = ks
        self.n = 0
        self.tags: set[str] = set()
        """All tags that were met."""
        self.cells: dict[Cell, Tally] = {}

    def add(self, score: Score, file: str = "") -> None:
        """`file` labels the source where there are several."""
        policy = str(score.policy.get("name", "-"))
        key = (file, policy, *(_word(score.tags.get(name)) for name in self.by))
        self.n += 1
        self.tags.update(score.tags)
        self.cells.setdefault(key, Tally()).add(score, (file, policy, score.task_id))

    def groups(self) -> list[Group]:
        """Rows in the order of the table: files as they came; under each its cells, then its total."""
        keys = list(self.cells)
        files = list(dict.fromkeys(key[0] for key in keys))
        sources = list(dict.fromkeys(key[:2] for key in keys))
        several_policies = len(sources) > len(files)
        lead = [name for name, wanted in (("file", len(files) > 1), ("policy", several_policies)) if wanted]
        out: list[Group] = []
        for source in sources if several_policies else [(file,) for file in files]:
            mine = sorted((key for key in keys if key[: len(source)] == source), key=_order)
            cells = {key[2:]: Tally() for key in mine}
            total = Tally()
            for key in mine:
                cells[key[2:]].merge(self.cells[key])
                total.merge(self.cells[key])
            names = {"file": source[0], "policy": source[-1]}
            left = {name: names[name] for name in lead}
            if len(cells) > 1:
                out.extend(
                    Group(left | dict(zip(self.by, cell, strict=True)), tally.metrics(self.ks))
                    for cell, tally in cells.items()
                )
            shared = [
                words.pop() if len(words := set(column)) == 1 else "all"
                for column in zip(*cells, strict=True)
            ]
            out.append(
                Group(left | dict(zip(self.by, shared, strict=True)), total.metrics(self.ks), total=True)
            )
        return out

    def counts(self) -> Json:
        """Trajectories in, and those that no accuracy is made of."""
        tallies = self.cells.values()
        return {
            "trajectories": self.n,
            "invalid": sum(tally.invalid for tally in tallies),
            "unjudged": sum(tally.unjudged for tally in tallies),
        }

    def metrics(self) -> Json:
        """The rows for a machine; the numbers of the only total also stand on top."""
        groups = self.groups()
        totals = [group.metrics for group in groups if group.total]
        rows = [{"by": group.by, "total": group.total, **group.metrics} for group in groups]
        return {**(totals[0] if len(totals) == 1 else {}), "groups": rows}


def failing(groups: Iterable[Group], metric: str, least: float) -> list[str]:
    """A sentence for each total row that misses `least`."""
    out = []
    for group in groups:
        if not group.total:
            continue
        value = group.metrics.get(metric)
        who = " ".join(word for name, word in group.by.items() if name in ("file", "policy"))
        prefix = f"{who}: " if who else ""
        if value is None:
            out.append(f"{prefix}{metric} is not known, {least:g} is due")
        elif value < least:
            out.append(f"{prefix}{metric} is {value:.4g}, below {least:g}")
    return out


def _word(value: Any) -> str:
    """A tag as one word: a list of drifts becomes `format+stale`."""
    if isinstance(value, list):
        return "+".join(sorted(map(str, value))) or "none"
    return "-" if value is None or value == "" else str(value)


def _order(key: Cell) -> list[tuple[int, float, str]]:
    """Plain before drifted, numbers by size, words by letter."""
    return [(0 if word == "none" else 1, float(word) if word.isdecimal() else 0.0, word) for word in key[2:]]


def _powers(most: int) -> list[int]:
    """1, 2, 4 ... up to the number of samples.

    >>> _powers(6)
    [1, 2, 4]
    """
    return [1 << i for i in range(most.bit_length())]
