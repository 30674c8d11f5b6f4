"""What `--fail-under` and `--fail-over` ask: a number, and what it must not pass.

limits = [threshold("accuracy.low=0.8"), threshold("calls=6", least=False)]
outcomes = checked(groups, limits)      # one for each limit and total row
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json
from tmcli.report.metrics import METRICS
from tmcli.report.summary import Group
from tmcli.score import PARTS

ENDS = ("low", "high")
"""After a metric: the ends of its 95 % interval."""


@dataclass(frozen=True)
class Threshold:
    """A metric and its limit; `least`: it must not be below."""

    metric: str
    value: float
    least: bool = True


@dataclass(frozen=True)
class Outcome:
    """A threshold held against one row."""

    threshold: Threshold
    who: str
    """The file or policy, where there are several."""
    found: float | None

    @property
    def ok(self) -> bool:
        limit = self.threshold
        if self.found is None:
            return False
        return self.found >= limit.value if limit.least else self.found <= limit.value

    @property
    def says(self) -> str:
        limit = self.threshold
        who = f"{self.who}: " if self.who else ""
        if self.found is None:
            return f"{who}{limit.metric} is not known, {limit.value:g} is due"
        side = ("below" if limit.least else "above") if not self.ok else "within"
        return f"{who}{limit.metric} is {self.found:.4g}, {side} {limit.value:g}"


def threshold(text: str, *, least: bool = True) -> Threshold:
    """`0.9` or `METRIC=0.9`; `METRIC.low` and `METRIC.high` are the ends of its interval, `METRIC.diff` is
    the difference of `--compare`. Raises `UsageError`.

    >>> threshold("0.9")
    Threshold(metric='accuracy', value=0.9, least=True)
    >>> threshold("pass^4.low=1").metric, threshold("solve_f1.diff.low=-0.02").value
    ('pass^4.low', -0.02)
    """
    option = "--fail-under" if least else "--fail-over"
    metric, _, number = text.rpartition("=")
    metric = metric.strip() or "accuracy"
    name = re.sub(r"(\.diff)?(\.low|\.high)?$", "", metric)
    if name not in (*METRICS, *PARTS) and not re.fullmatch(r"pass[@^][1-9]\d*", name):
        raise UsageError(
            f"{option}: no metric is called {name!r}", did_you_mean(name, [*METRICS, "pass@K", "pass^K"])
        )
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"{option}: {number!r} is not a number", "write 0.9 or solve_f1=0.3")
    return Threshold(metric, value, least)


def checked(groups: Iterable[Group], limits: Sequence[Threshold]) -> list[Outcome]:
    """Each limit at each total row."""
    out = []
    for group in groups:
        if group.total:
            who = " ".join(word for name, word in group.by.items() if name in ("file", "policy"))
            out += [Outcome(limit, who, number(group.metrics, limit.metric)) for limit in limits]
    return out


def number(metrics: Json, metric: str) -> float | None:
    """A metric of a row, or an end of its interval.

    >>> number({"calls": 2.0, "intervals": {"calls": [1.5, 2.5]}}, "calls.low")
    1.5
    """
    name, _, end = metric.rpartition(".")
    if end in ENDS:
        interval = metrics["intervals"].get(name)
        return None if interval is None else float(interval[ENDS.index(end)])
    value = metrics.get(metric)
    return None if value is None else float(value)
