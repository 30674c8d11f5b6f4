"""The pictures of a report, drawn by matplotlib from the numbers of the summary.

for chart in charts(groups, metrics, faults, courses):
    chart.title, chart.svg        # only those that have something to show
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tmcli.records import Json
from tmcli.report.curve import LOSS, REWARD, Kind, points
from tmcli.report.html.courses import Course
from tmcli.report.html.faults import KINDS
from tmcli.report.html.svg import NAMED, SURFACE, TEXT, drawing, inline, label, series
from tmcli.report.summary import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.2
"""Inches of 72 px: read without a magnifier on a telephone, two beside each other on a desk."""
ROW = 0.27
"""Height of a row of bars or points."""
MOST_ROWS = 40
MOST_NAMED = 12
"""Beyond so many points or lines, names would hide the picture."""


class Chart(NamedTuple):
    """A picture with what it shows."""

    title: str
    note: str
    svg: str


def charts(
    groups: Sequence[Group], metrics: Json, faults: Mapping[str, Counter[str]], runs: Sequence[Course]
) -> Iterator[Chart]:
    """In the order of the page."""
    rows = [group for group in groups if group.metrics.get("accuracy") is not None]
    totals = [group for group in rows if group.total]
    matrix = [row for row in metrics.get("matrix") or [] if row.get("accuracy") is not None]
    known: list[tuple[str, str, Any, Callable[[], Figure]]] = [
        (
            "Accuracy",
            "Share of right answers with its 95 % interval; a diamond is a whole file or policy.",
            rows,
            lambda: _accuracy(rows[:MOST_ROWS]),
        ),
        (
            "Robustness",
            "Accuracy as tools become less familiar, with 95 % intervals: strength 0 is as documented.",
            matrix,
            lambda: _robustness(matrix),
        ),
        (
            "Cost and accuracy",
            "Each point is a row of the table; further up and to the left is better.",
            len(_priced(rows, totals)[1]) > 1,
            lambda: _cost(*_priced(rows, totals)),
        ),
        (
            "Calls by phase",
            "Tool calls of an average episode: trials that paid off, trials that did not, and execution.",
            any(group.metrics.get("calls") for group in groups),
            lambda: _phases([group for group in groups if group.metrics.get("calls") is not None]),
        ),
        (
            "Errors of tool calls",
            "What the tools said, by its words; the numbers count calls.",
            any(faults.values()),
            lambda: _faults({who: counts for who, counts in faults.items() if counts}),
        ),
        *(
            (
                title,
                "A training run a colour; dots: on what was held out.",
                drawn,
                lambda kind=kind, drawn=drawn: _course(kind, drawn),
            )
            for title, kind in (("Training: loss", LOSS), ("Training: outcome", REWARD))
            if (drawn := [run for run in runs if len(points(run.lines, kind.trained)[0]) > 1])
        ),
    ]
    for title, note, there, draw in known:
        if there:
            with drawing(title):
                yield Chart(title, note, inline(draw(), f"{title}: {note}"))


# ---- one picture each ------------------------------------------------------------------------------


def _accuracy(rows: Sequence[Group]) -> Figure:
    figure, axes = _rows([_name(group) for group in rows])
    files = list(dict.fromkeys(_who(group) for group in rows))
    for y, group in enumerate(rows):
        value = group.metrics["accuracy"]
        low, high = group.metrics.get("interval") or (value, value)
        colour = series(files.index(_who(group)))
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.55)
        marker, size = ("D", 7.5) if group.total else ("o", 7)
        axes.plot([value], [y], marker=marker, markersize=size, color=colour, markeredgecolor=SURFACE)
    axes.set_xlim(-0.02, 1.02)
    _percent(axes.xaxis)
    return figure


def _robustness(rows: Sequence[Json]) -> Figure:
    keys = [key for key in ("file", "policy", "set") if len({row.get(key) for row in rows}) > 1]
    panels: dict[str, list[Json]] = {}
    for row in rows:
        panels.setdefault(" ".join(str(row.get(key, "")) for key in keys), []).append(row)
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows if row["kind"] != "none"))
    figure = _figure(2.5 * len(panels) + 0.7 if len(panels) > 1 else HEIGHT)
    drawn = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, mine) in zip(drawn, panels.items(), strict=True):
        start = [row for row in mine if row["kind"] == "none"]
        for i, kind in enumerate(kinds):
            line = sorted(
                [*start, *(row for row in mine if row["kind"] == kind)], key=lambda row: row["strength"]
            )
            _interval_line(axes, line, i, label(kind))
        axes.set_title(label(name, 60), loc="left", fontsize=10)
        axes.set_ylim(-0.02, 1.02)
        _percent(axes.yaxis)
    drawn[-1].set_xlabel("strength of the drift")
    figure.legend(
        *drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, max(1, len(kinds)))
    )
    return figure


def _interval_line(axes: Axes, line: Sequence[Json], i: int, name: str) -> None:
    x = [row["strength"] for row in line]
    y = [row["accuracy"] for row in line]
    ends = [row.get("interval") or (row["accuracy"], row["accuracy"]) for row in line]
    low, high = [low for low, _ in ends], [high for _, high in ends]
    axes.fill_between(x, low, high, color=series(i), alpha=0.08, linewidth=0)
    axes.plot(x, y, color=series(i), marker="o", markersize=5, label=name)


def _priced(rows: Sequence[Group], totals: Sequence[Group]) -> tuple[str, list[tuple[Group, float]]]:
    """What an episode costs: in dollars where all are known, else in tokens; of whole files, where there are
    several."""
    shown = totals if len(totals) > 1 else rows
    for metric in ("cost", "tokens", "completion_tokens"):
        found = [(group, group.metrics.get(metric)) for group in shown]
        priced = [(group, float(value)) for group, value in found if value is not None]
        if priced and len(priced) == len(shown):
            return metric, priced
    return "", []


def _cost(metric: str, priced: Sequence[tuple[Group, float]]) -> Figure:
    figure = _figure(HEIGHT)
    axes = figure.add_subplot()
    for i, (group, spent) in enumerate(priced):
        value = group.metrics["accuracy"]
        low, high = group.metrics.get("interval") or (value, value)
        axes.plot([spent, spent], [low, high], color=series(i), alpha=0.5)
        axes.plot([spent], [value], marker="o", markersize=8, color=series(i), markeredgecolor=SURFACE)
        if len(priced) <= MOST_NAMED:
            _named(axes, label(_name(group), 24), (spent, value), (7, 4))
    axes.margins(x=0.25)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
    axes.set_ylim(-0.02, 1.02)
    _percent(axes.yaxis)
    unit = "USD" if metric == "cost" else metric.replace("_", " ")
    axes.set_xlabel(f"{unit} an episode")
    return figure


def _phases(groups: Sequence[Group]) -> Figure:
    shown = ([group for group in groups if group.total] if len(groups) > MOST_ROWS else list(groups))[
        :MOST_ROWS
    ]
    figure, axes = _rows([_name(group) for group in shown], legend=True)
    parts: dict[str, list[float]] = {"useful trials": [], "wasted trials": [], "execution": []}
    for group in shown:
        calls = float(group.metrics["calls"])
        trials = calls * (group.metrics.get("trial_share") or 0.0)
        useful = trials * (group.metrics.get("useful_share") or 0.0)
        for name, value in zip(parts, (useful, trials - useful, calls - trials), strict=True):
            parts[name].append(value)
    _stacked(axes, parts, [NAMED["trial"], NAMED["wasted"], NAMED["execution"]])
    axes.set_xlabel("calls an episode")
    return figure


def _faults(faults: Mapping[str, Counter[str]]) -> Figure:
    whos = list(faults)[: len(KINDS)]
    counts = sum((faults[who] for who in whos), Counter[str]())
    kinds = [kind for kind, _ in counts.most_common()]
    figure, axes = _rows(kinds, legend=len(whos) > 1)
    parts = {label(who): [float(faults[who][kind]) for kind in kinds] for who in whos}
    _stacked(axes, parts, [series(i) for i in range(len(whos))])
    for y, kind in enumerate(kinds):
        _named(axes, f"{counts[kind]:,}", (counts[kind], y), (4, -3))
    axes.margins(x=0.12)
    axes.set_xlabel("calls")
    return figure


def _course(kind: Kind, runs: Sequence[Course]) -> Figure:
    figure = _figure(HEIGHT)
    axes = figure.add_subplot(xlabel="step", ylabel=kind.axis)
    for i, run in enumerate(runs):
        axes.plot(*points(run.lines, kind.trained), color=series(i), linewidth=1.3, label=label(run.name))
        held_out = points(run.lines, kind.held_out)
        if held_out[0]:
            axes.plot(*held_out, color=series(i), linewidth=0.8, linestyle="--", marker="o", markersize=6)
    if 1 < len(runs) <= MOST_NAMED:
        figure.legend(loc="outside lower center", ncols=min(4, len(runs)))
    return figure


# ---- what they share -------------------------------------------------------------------------------


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def _rows(names: Sequence[str], legend: bool = False) -> tuple[Figure, Axes]:
    """Axes with a named row each, the first on top."""
    figure = _figure(0.55 + ROW * max(3, len(names)) + 0.35 * legend)
    axes = figure.add_subplot()
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.set_ylim(max(2, len(names) - 1) + 0.6, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return figure, axes


def _stacked(axes: Axes, parts: Mapping[str, Sequence[float]], colours: Sequence[str]) -> None:
    """Bars, part beside part."""
    left = [0.0] * max(map(len, parts.values()))
    for (name, values), colour in zip(parts.items(), colours, strict=True):
        axes.barh(range(len(values)), values, 0.62, left, color=colour, edgecolor=SURFACE, label=name)
        left = [a + b for a, b in zip(left, values, strict=True)]
    if len(parts) > 1:
        axes.figure.legend(loc="outside lower center", ncols=min(4, len(parts)))


def _named(axes: Axes, text: str, at: tuple[float, float], apart: tuple[float, float]) -> None:
    """A word beside a point."""
    axes.annotate(text, at, apart, textcoords="offset points", fontsize=9)


def _percent(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])


def _who(group: Group) -> str:
    return " ".join(word for name, word in group.by.items() if name in ("file", "policy"))


def _name(group: Group) -> str:
    """
    >>> _name(Group({"file": "base", "split": "seen", "drift": "-"}, {}))
    'base · seen'
    """
    words = [word for word in group.by.values() if word not in ("-", "")]
    return (group.total and _who(group)) or " · ".join(words) or "all"
