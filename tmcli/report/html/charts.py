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
from tmcli.report.html.axes import HEIGHT, Bars, empty, in_rows, named, percent, stacked
from tmcli.report.html.courses import Course
from tmcli.report.html.svg import NAMED, SURFACE, drawing, inline, label, series
from tmcli.report.summary import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40
MOST_NAMED = 12
"""Beyond so many points or lines, names would hide the picture."""


GAIN = Kind("reward by step", "reward", "reward", "eval_reward", "reward.png")
"""What trainers of others log."""


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
            len({spent for _, spent in _priced(rows, totals)[1]}) > 1,
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
            lambda: _faults(faults),
        ),
        *(
            (
                title,
                "A training run a colour; dots: on what was held out.",
                drawn,
                lambda kind=kind, drawn=drawn: _course(kind, drawn),
            )
            for title, kind in (
                ("Training: loss", LOSS),
                ("Training: outcome", REWARD),
                ("Training: reward", GAIN),
            )
            if (drawn := [run for run in runs if len(points(run.lines, kind.trained)[0]) > 1])
        ),
    ]
    for title, note, there, draw in known:
        if there:
            with drawing(title):
                yield Chart(title, note, inline(draw(), f"{title}: {note}"))


# ---- one picture each ------------------------------------------------------------------------------


def _accuracy(rows: Sequence[Group]) -> Figure:
    figure, axes = in_rows([_name(group) for group in rows])
    files = list(dict.fromkeys(_who(group) for group in rows))
    for y, group in enumerate(rows):
        value = group.metrics["accuracy"]
        low, high = group.metrics.get("interval") or (value, value)
        colour = series(files.index(_who(group)))
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.55)
        marker, size = ("D", 7.5) if group.total else ("o", 7)
        axes.plot([value], [y], marker=marker, markersize=size, color=colour, markeredgecolor=SURFACE)
    axes.set_xlim(-0.02, 1.02)
    percent(axes.xaxis)
    return figure


def _robustness(rows: Sequence[Json]) -> Figure:
    keys = [key for key in ("file", "policy", "set") if len({row.get(key) for row in rows}) > 1]
    panels: dict[str, list[Json]] = {}
    for row in rows:
        panels.setdefault(" ".join(str(row.get(key, "")) for key in keys), []).append(row)
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows if row["kind"] != "none"))
    figure = empty(2.5 * len(panels) + 0.7 if len(panels) > 1 else HEIGHT)
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
        percent(axes.yaxis)
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
    figure = empty(HEIGHT)
    axes = figure.add_subplot()
    for i, (group, spent) in enumerate(priced):
        value = group.metrics["accuracy"]
        low, high = group.metrics.get("interval") or (value, value)
        axes.plot([spent, spent], [low, high], color=series(i), alpha=0.5)
        axes.plot([spent], [value], marker="o", markersize=8, color=series(i), markeredgecolor=SURFACE)
        if len(priced) <= MOST_NAMED:
            named(axes, label(_name(group), 24), (spent, value), (7, 4))
    axes.margins(x=0.25)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
    axes.set_ylim(-0.04, 1.1)
    percent(axes.yaxis)
    unit = "USD" if metric == "cost" else metric.replace("_", " ")
    axes.set_xlabel(f"{unit} an episode")
    return figure


def _phases(groups: Sequence[Group]) -> Figure:
    shown = ([group for group in groups if group.total] if len(groups) > MOST_ROWS else list(groups))[
        :MOST_ROWS
    ]
    figure, axes = in_rows([_name(group) for group in shown], legend=True)
    parts: list[Bars] = [
        ("useful trials", [], NAMED["trial"]),
        ("wasted trials", [], NAMED["wasted"]),
        ("execution", [], NAMED["execution"]),
    ]
    for group in shown:
        calls = float(group.metrics["calls"])
        trials = calls * (group.metrics.get("trial_share") or 0.0)
        useful = trials * (group.metrics.get("useful_share") or 0.0)
        for (_, values, _), value in zip(parts, (useful, trials - useful, calls - trials), strict=True):
            values.append(value)
    stacked(axes, parts)
    axes.set_xlabel("calls an episode")
    return figure


def _faults(faults: Mapping[str, Counter[str]]) -> Figure:
    colours = {who: series(i) for i, who in enumerate(faults)}  # those of the accuracy
    whos = [who for who, counts in faults.items() if counts][:MOST_NAMED]
    counts = sum((faults[who] for who in whos), Counter[str]())
    kinds = [kind for kind, _ in counts.most_common()]
    figure, axes = in_rows(kinds, legend=len(whos) > 1)
    stacked(axes, [(who, [float(faults[who][kind]) for kind in kinds], colours[who]) for who in whos])
    for y, kind in enumerate(kinds):
        named(axes, f"{counts[kind]:,}", (counts[kind], y), (4, -3))
    axes.margins(x=0.12)
    axes.set_xlabel("calls")
    return figure


def _course(kind: Kind, runs: Sequence[Course]) -> Figure:
    figure = empty(HEIGHT)
    axes = figure.add_subplot(xlabel="step", ylabel=kind.axis)
    for i, run in enumerate(runs):
        axes.plot(*points(run.lines, kind.trained), color=series(i), linewidth=1.3, label=label(run.name))
        held_out = points(run.lines, kind.held_out)
        if held_out[0]:
            axes.plot(*held_out, color=series(i), linewidth=0.8, linestyle="--", marker="o", markersize=6)
    axes.locator_params(axis="x", integer=True)
    if 1 < len(runs) <= MOST_NAMED:
        figure.legend(loc="outside lower center", ncols=min(4, len(runs)))
    return figure


# ---- their names ---------------------------------------------------------------------------------


def _who(group: Group) -> str:
    return " ".join(word for name, word in group.by.items() if name in ("file", "policy"))


def _name(group: Group) -> str:
    """
    >>> _name(Group({"file": "base", "split": "seen", "drift": "-"}, {}))
    'base · seen'
    """
    words = [word for word in group.by.values() if word not in ("-", "")]
    return (group.total and _who(group)) or " · ".join(words) or "all"
