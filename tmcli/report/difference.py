"""Two episodes of one task as a person compares them: turn by turn, `-` is the left one, `+` the right one.

    for line in difference(left, right): ...       # lines to be coloured, as of `transcript`
    as_json(left, right)                           # the same for a program

Of turns that are the same there is one line. In the others, lines are compared; of long ones and of long runs
of lines only what differs is told, unless `full`.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from tmcli.records import Json, Trajectory
from tmcli.report.diff import Row, aligned
from tmcli.report.transcript import Line, Part, Step, spoken, tags, told, verdict
from tmcli.score import task_in

MAX_LINES, MAX_CHARS = 20, 300
"""Of a run of lines, and of a line."""
MOST_CELLS = 250_000
"""Pairs of lines that are compared, which takes a second at worst: of longer turns, all of the left stands
before all of the right."""


def difference(
    left: Trajectory, right: Trajectory, names: tuple[str, str] = ("", ""), *, full: bool = False
) -> Iterator[Line]:
    """All of it. `names`: where each is from."""
    task = task_in(left)
    yield Line(f"== {task.id}  {tags(task.tags)}".rstrip(), "head")
    for mark, name, one in zip("-+", names, (left, right), strict=True):
        words = [name, one.id, str(one.policy.get("name", ""))]
        yield Line(f"{mark} {'  '.join(word for word in words if word)}", _PART[mark])
    for message in task.messages:
        yield from spoken(message["role"], message.get("content") or "", "user", full=full)
    for row in aligned(left, right):
        yield from _row(row, full=full)
    yield Line("")
    yield from _compared(list(verdict(left)), list(verdict(right)), full=full)
    yield Line("")


def as_json(left: Trajectory, right: Trajectory) -> Json:
    """Which turns belong together (their numbers, from 1), and what they differ in."""
    rows = [
        {
            "kind": row.kind,
            "left": row.left and row.left.number,
            "right": row.right and row.right.number,
            "differs": list(row.differs),
        }
        for row in aligned(left, right)
    ]
    return {"task": task_in(left).id, "left": _side(left), "right": _side(right), "turns": rows}


def _side(one: Trajectory) -> Json:
    return {"id": one.id, "policy": one.policy.get("name"), "prediction": one.prediction, "stop": one.stop}


def _row(row: Row, *, full: bool) -> Iterator[Line]:
    yield Line("")
    if row.left is not None and row.right is not None:
        if row.kind == "same" and not full:
            yield Line(f"  {_title(row.left, row.right)}  {_names(row.left)}  (same)", "same")
            return
        differs = f"  differs in {', '.join(row.differs)}" if row.differs else "  (same)"
        yield Line(f"  {_title(row.left, row.right)}{differs}", "differs" if row.differs else "same")
        yield from _compared(list(told(row.left))[1:], list(told(row.right))[1:], full=full)
        return
    mark = "-" if row.right is None else "+"
    step = row.left or row.right
    assert step is not None
    yield from _marked(mark, list(told(step, full=full)), full=full)


def _title(a: Step, b: Step) -> str:
    one, other = f"{a.number}. {a.phase}", f"{b.number}. {b.phase}"
    return one if one == other else f"{one} | {other}"


def _names(step: Step) -> str:
    return ", ".join(call.name for call, _ in step.calls) or "; ".join(who for who, _ in step.said)


def _compared(a: list[Line], b: list[Line], *, full: bool) -> Iterator[Line]:
    """The lines of both in one order."""
    one, other = [line.text for line in a], [line.text for line in b]
    if len(a) * len(b) > MOST_CELLS:
        blocks = [("replace", 0, len(a), 0, len(b))]
    else:
        blocks = list(SequenceMatcher(None, one, other, autojunk=False).get_opcodes())
    for kind, i, m, j, n in blocks:
        if kind == "equal":
            yield from _marked(" ", a[i:m], full=full)
            continue
        yield from _marked("-", a[i:m], b[j:n], full=full)
        yield from _marked("+", b[j:n], a[i:m], full=full)


_PART: dict[str, Part] = {" ": "same", "-": "removed", "+": "added"}


def _marked(mark: str, lines: list[Line], others: list[Line] | None = None, *, full: bool) -> Iterator[Line]:
    """Lines with their mark, cut where they are long to what differs from `others`."""
    shown = lines if full or len(lines) <= MAX_LINES else lines[: MAX_LINES - 2]
    for i, line in enumerate(shown):
        other = others[i].text if others and i < len(others) else ""
        yield Line(f"{mark} {line.text if full else _cut(line.text, other)}", _PART[mark])
    if len(shown) < len(lines):
        yield Line(f"{mark}    ... {len(lines) - len(shown)} more lines (--full) ...", _PART[mark])


def _cut(text: str, other: str) -> str:
    """A long line, from a little before where it begins to differ.

    >>> _cut("x" * 1000 + "here" + "y" * 1000, "x" * 1000)[:40]
    '... 970 characters (--full) ... xxxxxxxx'
    """
    if len(text) <= MAX_CHARS:
        return text
    first = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), None)
    if first is None:
        first = len(other) if other and len(other) < len(text) else 0
    start = max(0, first - 30)
    before = f"... {start} characters (--full) ... " if start else ""
    left = len(text) - start - MAX_CHARS
    after = f" ... {left} more characters (--full)" if left > 0 else ""
    return f"{before}{text[start : start + MAX_CHARS]}{after}"
