"""Empty pictures, rows and bars: what the charts of a report share.

figure, axes = in_rows(["base", "rl"])
stacked(axes, [("trials", [1.0, 2.0], series(0))])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tmcli.report.html.svg import SURFACE, TEXT, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.2
"""Inches of 72 px: read without a magnifier on a telephone, two beside each other on a desk."""
ROW = 0.27
"""Height of a row of bars or points."""

Bars = tuple[str, list[float], str]
"""Name, a length for each row, colour."""


def empty(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def in_rows(names: Sequence[str], legend: bool = False) -> tuple[Figure, Axes]:
    """Axes with a named row each, the first on top."""
    drawn = empty(0.55 + ROW * max(3, len(names)) + 0.35 * legend)
    axes = drawn.add_subplot()
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.set_ylim(max(2, len(names) - 1) + 0.6, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return drawn, axes


def stacked(axes: Axes, parts: Sequence[Bars]) -> None:
    """Bars, part beside part."""
    left = [0.0] * len(parts[0][1])
    for name, values, colour in parts:
        axes.barh(range(len(values)), values, 0.62, left, color=colour, edgecolor=SURFACE, label=label(name))
        left = [a + b for a, b in zip(left, values, strict=True)]
    if len(parts) > 1:
        axes.figure.legend(loc="outside lower center", ncols=min(4, len(parts)))


def named(axes: Axes, text: str, at: tuple[float, float], apart: tuple[float, float]) -> None:
    """A word beside a point."""
    axes.annotate(text, at, apart, textcoords="offset points", fontsize=9)


def percent(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
