"""Two runs over the same tasks, held against each other task by task.

    comparison = compare(base, trained)
    comparison.metrics["accuracy"].difference, .interval, .p
    comparison.won, comparison.lost         # ids of tasks

A task counts once, however many samples it had: its value is their mean. Tasks that one of both never played
or that cannot be judged are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean

from tmcli.records import Json
from tmcli.report.metrics import APART, MEANS, PASSES, is_share
from tmcli.report.paired import difference_interval, holm, sign_flip
from tmcli.report.statistics import Interval
from tmcli.report.summary import Cell
from tmcli.report.tally import Tally
from tmcli.score.verdicts import NTH

FIRST = ("accuracy", "reward", "solve_f1")
"""What groups are compared in, and the table shows first."""


@dataclass(frozen=True)
class Difference:
    """One metric of both runs, over the tasks that both know it of."""

    tasks: int
    a: float
    b: float
    difference: float
    """b less a."""
    interval: Interval | None
    p: float
    """Of the sign-flip test; McNemar's where a task is right or wrong."""


@dataclass(frozen=True)
class Comparison:
    """What b does better and worse than a."""

    metrics: dict[str, Difference]
    won: list[str]
    """Tasks that b has more samples right of."""
    lost: list[str]
    left_out: int
    """Tasks that only one of both has judged."""
    groups: list[Part] = field(default_factory=list)

    def to_json(self) -> Json:
        return asdict(self)

    def numbers(self) -> Json:
        """As the numbers of a row: `accuracy.diff`, with its interval."""
        flat: Json = {f"{name}.diff": one.difference for name, one in self.metrics.items()}
        known = {f"{name}.diff": one.interval for name, one in self.metrics.items() if one.interval}
        return {**flat, "intervals": known}


@dataclass(frozen=True)
class Part:
    """The tasks of one group."""

    by: dict[str, str]
    metrics: dict[str, Difference]
    p_holm: dict[str, float]
    """Adjusted for the number of groups."""


def compare(a: Tally, b: Tally, names: tuple[str, ...] = ()) -> Comparison:
    """`names`: the metrics; else all that both have."""
    both = {name for name in a.columns if name in b.columns and not name.startswith(NTH)} - APART
    order = dict.fromkeys((*FIRST, *MEANS, *sorted(both)))
    chosen = names or (*(name for name in order if name in both), *_passes(a, b))
    metrics = {name: paired(a, b, name) for name in chosen}
    differences = _values(a, b, "accuracy")
    return Comparison(
        {name: found for name, found in metrics.items() if found is not None},
        [task for task, (one, other) in differences.items() if other > one],
        [task for task, (one, other) in differences.items() if other < one],
        len(_judged(a) ^ _judged(b)),
    )


def by_group(
    a: Mapping[Cell, Tally], b: Mapping[Cell, Tally], tags: list[str], names: tuple[str, ...] = FIRST
) -> list[Part]:
    """The comparison in each cell that both have; p-values are adjusted for their number."""
    cells = [cell for cell in a if cell in b]
    found = [compare(a[cell], b[cell], names).metrics for cell in cells]
    adjusted: list[dict[str, float]] = [{} for _ in cells]
    for name in names:
        known = [i for i, metrics in enumerate(found) if name in metrics]
        for i, p in zip(known, holm([found[i][name].p for i in known]), strict=True):
            adjusted[i][name] = p
    rows = zip(cells, found, adjusted, strict=True)
    return [Part(dict(zip(tags, cell, strict=True)), metrics, ps) for cell, metrics, ps in rows if metrics]


def paired(a: Tally, b: Tally, name: str) -> Difference | None:
    """None where no task has it in both."""
    pairs = list(_values(a, b, name).values())
    if not pairs:
        return None
    differences = [other - one for one, other in pairs]
    mine, theirs = fmean(one for one, _ in pairs), fmean(other for _, other in pairs)
    is_binary = is_share(name) and all(value in (0, 1) for pair in pairs for value in pair)
    interval = difference_interval(differences, is_binary=is_binary)
    return Difference(len(pairs), mine, theirs, fmean(differences), interval, sign_flip(differences))


def _values(a: Tally, b: Tally, name: str) -> dict[str, tuple[float, float]]:
    """Task -> its value in a and in b, where both know it."""
    mine, theirs = _by_task(a, name), _by_task(b, name)
    return {task: (value, theirs[task]) for task, value in mine.items() if task in theirs}


def _by_task(tally: Tally, name: str) -> dict[str, float]:
    """Task -> the mean over its samples; of `pass@k`, its estimate."""
    prefix, k = name[:5], name[5:]
    column = tally.columns.get("accuracy" if prefix in PASSES else name)
    if column is None:
        return {}
    rows = zip(tally.rows, column.ns, column.sums, strict=False)
    if prefix in PASSES:
        return {task: PASSES[prefix](int(n), int(c), int(k)) for task, n, c in rows if n >= int(k)}
    return {task: total / n for task, n, total in rows if n}


def _judged(tally: Tally) -> set[str]:
    return set(_by_task(tally, "accuracy"))


def _passes(a: Tally, b: Tally) -> list[str]:
    """pass@k and pass^k of 2, 4, 8 ... as far as both have samples."""
    if a.is_mixed or b.is_mixed:
        return []
    most = min(int(max(tally.columns["accuracy"].ns, default=0)) for tally in (a, b))
    return [f"{prefix}{1 << i}" for prefix in PASSES for i in range(1, most.bit_length())]
