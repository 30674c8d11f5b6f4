"""The rows of a summary as text: only the columns that say something here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tmcli.records import Json
from tmcli.report.summary import Group

Column = Callable[[Json], object]
"""The metrics of a row -> its cell; None where nothing is known."""


def table(groups: Sequence[Group]) -> tuple[list[str], list[list[object]]]:
    """(header, rows). The words that tell rows apart come first, then accuracy with its interval."""
    keys = [key for key in groups[0].by if any(group.by[key] != "-" for group in groups)]
    passes = sorted((name for name in groups[-1].metrics if name.startswith("pass@")), key=_k)
    columns: dict[str, Column] = {
        "n": lambda m: m["n"],
        "accuracy [95 %]": lambda m: accuracy(m["accuracy"], m["interval"]),
        **{name: _share(name) for name in passes if name != "pass@1"},
        "Solve-P": _share("solve_p"),
        "Solve-R": _share("solve_r"),
        "Solve-F1": _share("solve_f1"),
        "reward": _mean("reward", 3),
        "turns": _mean("turns", 1),
        "calls": _mean("calls", 1),
        "errors": _mean("errors", 1),
        "trials": _share("trial_share"),
        "useful": _share("useful_share"),
        "tokens": _mean("completion_tokens", 0),
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


def _k(name: str) -> int:
    return int(name.removeprefix("pass@"))
