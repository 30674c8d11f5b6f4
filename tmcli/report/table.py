"""The rows of a summary as text: only the columns that say something here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tmcli.records import Json
from tmcli.report.compare import Comparison, Difference
from tmcli.report.metrics import PASSES, is_share
from tmcli.report.seeds import Family
from tmcli.report.summary import Group

Column = Callable[[Json], object]
"""The metrics of a row -> its cell; None where nothing is known."""


@dataclass(frozen=True)
class Table:
    """What `console.table` takes."""

    title: str
    header: list[str]
    rows: list[list[object]]


def table(groups: Sequence[Group]) -> tuple[list[str], list[list[object]]]:
    """(header, rows). The words that tell rows apart come first, then accuracy with its interval."""
    keys = [key for key in groups[0].by if any(group.by[key] != "-" for group in groups)]
    passes = [name for name in groups[-1].metrics if name[:5] in PASSES]
    columns: dict[str, Column] = {
        "n": lambda m: m["n"],
        "accuracy [95 %]": lambda m: accuracy(m["accuracy"], m["interval"]),
        **{name: _share(name) for name in passes if name not in ("pass@1", "pass^1")},
        "Solve-P": _share("solve_p"),
        "Solve-R": _share("solve_r"),
        "Solve-F1": _share("solve_f1"),
        "SoPR ± judge's std": sopr,
        "reward": _mean("reward", 3),
        "turns": _mean("turns", 1),
        "calls": _mean("calls", 1),
        "errors": _mean("errors", 1),
        "trials": _share("trial_share"),
        "useful": _share("useful_share"),
        "useful (judge)": _share("judged_useful_share"),
        "tokens": _mean("completion_tokens", 0),
        "seconds": _mean("seconds", 2),
        "USD": _mean("cost", 4),
        "unjudged": lambda m: m["unjudged"] or None,
        "invalid": lambda m: m["invalid"] or None,
    }
    cells = {name: [cell(group.metrics) for group in groups] for name, cell in columns.items()}
    shown = {name: column for name, column in cells.items() if any(cell is not None for cell in column)}
    rows = [
        [*(group.by[key] for key in keys), *(column[i] for column in shown.values())]
        for i, group in enumerate(groups)
    ]
    return [*keys, *shown], rows


def accuracy(share: float | None, interval: Sequence[float] | None) -> str | None:
    """
    >>> accuracy(0.8, [0.4902, 0.9433])
    '80.0% [49.0, 94.3]'
    """
    if share is None or interval is None:
        return None
    return f"{share:.1%} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def sopr(metrics: Json) -> str | None:
    """
    >>> sopr({"sopr": 0.5, "sopr_std": 0.0312}), sopr({"sopr": 0.5, "sopr_std": None})
    ('50.0% ± 3.1', '50.0%')
    """
    share, std = metrics.get("sopr"), metrics.get("sopr_std")
    if share is None:
        return None
    return f"{share:.1%}" if std is None else f"{share:.1%} ± {100 * std:.1f}"


def _share(metric: str) -> Column:
    def cell(metrics: Json) -> str | None:
        value = metrics.get(metric)
        return None if value is None else f"{value:.1%}"

    return cell


def _mean(metric: str, digits: int) -> Column:
    def cell(metrics: Json) -> str | None:
        value = metrics.get(metric)
        return None if value is None else f"{value:.{digits}f}"

    return cell


# ---- seeds and comparisons -----------------------------------------------------------------------

SHOWN = {
    "accuracy": "accuracy",
    "solve_p": "Solve-P",
    "solve_r": "Solve-R",
    "solve_f1": "Solve-F1",
    "reward": "reward",
    "turns": "turns",
    "calls": "calls",
    "errors": "errors",
    "completion_tokens": "tokens",
    "cost": "cost",
}
"""Metrics of the smaller tables, by what they are called there; passes come with them."""

N_NAMED = 4
"""Tasks that a line names; the run record has them all."""


def seeds_table(family: Family) -> Table:
    """How the runs of one policy scatter."""
    rows: list[list[object]] = []
    for name, one in family.metrics.items():
        if name in SHOWN or name[:5] in PASSES:
            figures = [_figure(name, value) for value in (one.mean, one.sd)]
            rows.append([SHOWN.get(name, name), *figures, _span(name, one.interval)])
    title = f"{family.policy}: {len(family.runs)} seeds ({', '.join(family.runs)})"
    return Table(title, ["metric", "mean", "sd", "[95 %]"], rows)


def comparison_table(a: str, b: str, comparison: Comparison) -> Table:
    """b less a, metric by metric, then group by group."""
    rows: list[list[object]] = []
    for name, one in comparison.metrics.items():
        if name in SHOWN or name[:5] in PASSES:
            rows.append([SHOWN.get(name, name), "all", *_difference(name, one), one.p])
    for part in comparison.groups:
        where = " ".join(part.by.values())
        rows += [
            [SHOWN[name], where, *_difference(name, one), part.p_holm[name]]
            for name, one in part.metrics.items()
            if name == "accuracy"
        ]
    header = ["metric", "tasks of", "n", a, b, "difference", "[95 %]", "p"]
    return Table(f"{b} less {a}, task by task", header, rows)


def told(a: str, b: str, comparison: Comparison) -> list[str]:
    """Who won which tasks."""
    lines = []
    for who, tasks in ((b, comparison.won), (a, comparison.lost)):
        named = " ".join(tasks[:N_NAMED]) + (" ..." if len(tasks) > N_NAMED else "")
        lines.append(f"{who} is better at {len(tasks)} tasks{': ' if tasks else ''}{named}")
    if comparison.left_out:
        lines.append(f"{comparison.left_out} tasks are judged in one of them only, and left out")
    if comparison.groups:
        lines.append("p of groups is adjusted for their number (Holm)")
    return lines


def _difference(name: str, one: Difference) -> list[object]:
    a, b, difference = (_figure(name, value) for value in (one.a, one.b, one.difference))
    sign = "" if one.difference < 0 else "+"
    return [one.tasks, a, b, sign + difference, _span(name, one.interval)]


def _span(name: str, interval: Sequence[float] | None) -> str | None:
    return None if interval is None else f"[{', '.join(_figure(name, end) for end in interval)}]"


def _figure(name: str, value: float) -> str:
    """
    >>> _figure("accuracy", 0.123), _figure("calls", 12.345)
    ('12.3%', '12.3')
    """
    return f"{value:.1%}" if is_share(name) else f"{value:.3g}"
