"""How a policy bears unfamiliar tools: one row a set, a kind of drift and a strength, and the curve.

    matrix = Matrix()
    for score in scores:
        matrix.add(score)               # those whose tasks tell their cells (see `steps/matrix.py`)
    matrix.rows()                       # plain dicts, for the run record
    drawn(matrix.rows(), width=80)      # text: accuracy over strength, a line a kind

Every cell holds the same tasks, so what a drift costs is a paired difference: the accuracy of each task under
it less that of the same task without, averaged over tasks. Its p-values are those of the sign-flip test,
adjusted for the number of cells (Holm), since one of twenty would else look like an effect by luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmcli.records import Json, Score
from tmcli.report.paired import difference_interval, holm, sign_flip
from tmcli.report.statistics import share_interval

PLAIN = "none"

HEIGHT = 15
"""Lines of a curve."""

Place = tuple[str, str, str, str]
"""File, policy, set, cell."""


@dataclass
class Cell:
    """The episodes of one cell, summed."""

    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Task before drift -> judged samples, right ones."""
    changed: set[str] = field(default_factory=set)
    """The tasks, before drift, that the drift found something to change of."""
    valid: int = 0
    invalid: int = 0
    unjudged: int = 0
    calls: int = 0
    errors: int = 0

    def add(self, score: Score, base: str) -> None:
        if score.task_id != base:
            self.changed.add(base)
        if score.stop == "infrastructure":
            self.invalid += 1
            return
        self.valid += 1
        self.calls += score.calls
        self.errors += score.errors
        if score.correct is None:
            self.unjudged += 1
            return
        n, right = self.tasks.get(base, (0, 0))
        self.tasks[base] = n + 1, right + score.correct

    def numbers(self, plain: Cell | None) -> Json:
        """What is known of it; `plain`: the same tasks without drift."""
        ns, rights = [n for n, _ in self.tasks.values()], [right for _, right in self.tasks.values()]
        n = sum(ns)
        out: Json = {
            "n": n,
            "tasks": len(self.tasks),
            "changed": len(self.changed),
            "invalid": self.invalid,
            "unjudged": self.unjudged,
            "accuracy": sum(rights) / n if n else None,
            "interval": _listed(share_interval(ns, rights)),
            "calls": self.calls / self.valid if self.valid else None,
            "errors": self.errors / self.valid if self.valid else None,
        }
        differences = [] if plain is None or plain is self else _differences(self.tasks, plain.tasks)
        whole = all(one in (-1, 0, 1) for one in differences)  # as with one sample a task
        return out | {
            "pairs": len(differences),
            "difference": sum(differences) / len(differences) if differences else None,
            "difference_interval": _listed(difference_interval(differences, is_binary=whole)),
            "p": sign_flip(differences) if differences else None,
        }


class Matrix:
    """Add scores one by one, then ask for the rows."""

    def __init__(self) -> None:
        self.cells: dict[Place, Cell] = {}
        self._rows: list[Json] | None = None

    def add(self, score: Score, file: str = "") -> None:
        """`file` labels the source where there are several. A score whose task tells no cells is none."""
        cells, base = score.tags.get("cells"), score.tags.get("base")
        if not isinstance(cells, list) or not isinstance(base, str):
            return
        self._rows = None
        policy, name = str(score.policy.get("name", "-")), str(score.tags.get("set", "-"))
        for cell in map(str, cells):
            self.cells.setdefault((file, policy, name, cell), Cell()).add(score, base)

    def rows(self) -> list[Json]:
        """By set and kind as they came, from weak to strong; the plain cell first in its set."""
        if self._rows is None:
            self._rows = self._made()
        return self._rows

    def _made(self) -> list[Json]:
        places = list(self.cells)
        first = {word: i for i, word in reversed(list(enumerate(_kind(place[3]) for place in places)))}
        lead = list(dict.fromkeys(place[:3] for place in places))

        def order(place: Place) -> tuple[int, bool, int, float]:
            kind = _kind(place[3])
            return lead.index(place[:3]), kind != PLAIN, first[kind], _strength(place[3])

        files, policies = {place[0] for place in places}, {place[1] for place in places}
        out = []
        for place in sorted(places, key=order):
            file, policy, name, cell = place
            row: Json = {"file": file} if len(files) > 1 else {}
            row |= {"policy": policy} if len(policies) > 1 else {}
            row |= {"set": name, "kind": _kind(cell), "strength": _strength(cell)}
            out.append(row | self.cells[place].numbers(self.cells.get((*place[:3], PLAIN))))
        compared = [row for row in out if row["p"] is not None]
        for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
            row["p"] = p
        return out


def table(rows: Sequence[Json]) -> tuple[list[str], list[list[object]]]:
    """Columns and lines for a terminal."""
    lead = [name for name in ("file", "policy", "set") if any(name in row for row in rows)]
    columns = [*lead, "drift", "strength", "n", "accuracy", "95 %", "difference", "95 %", "p"]
    columns += ["calls", "errors"]
    lines: list[list[object]] = [
        [
            *(str(row.get(name, "")) for name in lead),
            row["kind"],
            f"{row['strength']:g}",
            str(row["n"]),
            _number(row["accuracy"]),
            _span(row["interval"]),
            _number(row["difference"], "+.3f"),
            _span(row["difference_interval"], "+.2f"),
            _number(row["p"]),
            _number(row["calls"], ".1f"),
            _number(row["errors"], ".1f"),
        ]
        for row in rows
    ]
    return columns, lines


def curves(rows: Iterable[Json]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Set (with file and policy, where there are several) -> kind -> (strength, accuracy). Each begins with
    the plain cell.

    >>> plain = {"set": "seen", "kind": "none", "strength": 0.0, "accuracy": 1.0}
    >>> curves([plain, {"set": "seen", "kind": "wrap", "strength": 0.5, "accuracy": 0.8}])
    {'seen': {'wrap': [(0.0, 1.0), (0.5, 0.8)]}}
    """
    out: dict[str, dict[str, list[tuple[float, float]]]] = {}
    plain: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = " ".join(str(row[key]) for key in ("file", "policy", "set") if key in row)
        points = [(row["strength"], row["accuracy"])] if row["accuracy"] is not None else []
        if row["kind"] == PLAIN:
            plain[name] = points
        else:
            kinds = out.setdefault(name, {})
            kinds.setdefault(row["kind"], list(plain.get(name, []))).extend(points)
    return out


def drawn(rows: Sequence[Json], width: int) -> str:
    """The curves as text, one picture a set; empty where no line has two points."""
    import plotext

    out = []
    for name, kinds in curves(rows).items():
        lines = {kind: points for kind, points in kinds.items() if len(points) > 1}
        if not lines:
            continue
        figure = plotext.figure.clear()
        figure.plot_size(width, HEIGHT)
        figure.ruler("y").lim(0, 1)
        figure.title(f"accuracy by strength of drift: {name}")
        for points, marker in zip(lines.items(), _MARKERS * len(lines), strict=False):
            kind, pairs = points
            signal = figure.signal([x for x, _ in pairs], [y for _, y in pairs], marker=marker)
            signal.label(kind)
            figure.draw(signal.lines(True))
        out.append(str(figure.build().string(colorless=True)).rstrip() + "\n")
    return "\n".join(out)


_MARKERS = "●▲■◆★xo"


def _differences(drifted: dict[str, tuple[int, int]], plain: dict[str, tuple[int, int]]) -> list[float]:
    """By task: the share of right samples, less that without drift."""
    both = [task for task in drifted if task in plain]
    return [drifted[task][1] / drifted[task][0] - plain[task][1] / plain[task][0] for task in both]


def _kind(cell: str) -> str:
    return cell.partition("@")[0]


def _strength(cell: str) -> float:
    """
    >>> _strength("rename@0.5"), _strength("none")
    (0.5, 0.0)
    """
    try:
        return float(cell.partition("@")[2])
    except ValueError:
        return 0.0


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _number(value: Any, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _span(interval: Sequence[float] | None, form: str = ".2f") -> str:
    return "-" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
