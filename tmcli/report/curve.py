"""The loss of a training run, or its reward, as a curve: text for a terminal, a picture for the checkpoint.

curve_text(metrics.lines(), 80)                          # None where there is too little to draw
curve_picture(metrics.lines(), DIR / LOSS.file)          # False where matplotlib is not installed
curve_picture(metrics.lines(), DIR / REWARD.file, REWARD)
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tmcli.records import Json


class Kind(NamedTuple):
    """What is drawn, by its names in the metrics."""

    title: str
    axis: str
    trained: str
    held_out: str
    file: str


LOSS = Kind("loss by step", "loss per trained token", "loss", "eval_loss", "loss.png")
REWARD = Kind("outcome by step", "outcome", "reward/outcome", "eval_outcome", "reward.png")
HEIGHT = 14

Points = tuple[list[float], list[float]]
"""Steps, and the loss at each."""


def points(lines: Sequence[Json], name: str) -> Points:
    """Where a loss was logged and is a number."""
    found = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), (int, float))]
    kept = [(float(step), float(value)) for step, value in found if math.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def curve_text(lines: Sequence[Json], width: int, kind: Kind = LOSS) -> str | None:
    """The curve in `width` columns."""
    import plotext

    trained, held_out = points(lines, kind.trained), points(lines, kind.held_out)
    if len(trained[0]) < 2:
        return None
    figure = plotext.figure.clear()
    figure.plot_size(width, HEIGHT)
    figure.title(kind.title)
    figure.legend(x=trained[0][-1], y=max(trained[1] + held_out[1]), ha="right", relative=True)
    for (steps, values), marker, label in ((trained, "braille", "trained"), (held_out, "●", "held out")):
        if steps:
            signal = figure.signal(steps, values, marker=marker)
            signal.label(label if held_out[0] else None)
            figure.draw(signal.lines(marker == "braille"))
    return str(figure.build().string(colorless=True)).rstrip() + "\n"


def curve_picture(lines: Sequence[Json], file: Path, kind: Kind = LOSS) -> bool:
    """The curve as PNG."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its fonts
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel=kind.axis)
    axes.plot(*points(lines, kind.trained), linewidth=1, label="trained")
    held_out = points(lines, kind.held_out)
    if held_out[0]:
        axes.plot(*held_out, marker="o", label="held out")
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file, metadata={"Software": None})  # the same bytes again
    return True
