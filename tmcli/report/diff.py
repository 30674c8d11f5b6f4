"""Two episodes of one task side by side: which turn answers which, and what differs in it.

    for row in aligned(left, right):
        row.left, row.right        # a `Step` each; None where the other has no such turn
        row.differs                # () where they are the same; else some of `ASPECTS`, in their order

Turns are aligned as a whole (Needleman and Wunsch 1970): best are those that make the same calls, then those
that call the same tools, then those of one phase that both call or both only speak. The order of the turns
stays, and the same input gives the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tmcli.records import Trajectory
from tmcli.report.transcript import Step, steps

Aspect = Literal["phase", "state", "text", "tools", "arguments", "replies"]
ASPECTS: tuple[Aspect, ...] = ("phase", "state", "text", "tools", "arguments", "replies")
"""What two turns may differ in. `arguments` and `replies` are compared only where the tools are the same."""

MOST_CELLS = 1_000_000
"""Pairs of turns that are compared at most: of longer episodes, turns are paired by their number."""


class Row(NamedTuple):
    """A turn of each, or of one alone."""

    left: Step | None
    right: Step | None
    differs: tuple[Aspect, ...]

    @property
    def kind(self) -> Literal["same", "changed", "left", "right"]:
        """`left`, `right`: only there is such a turn."""
        if self.left is None:
            return "right"
        if self.right is None:
            return "left"
        return "changed" if self.differs else "same"


def aligned(left: Trajectory, right: Trajectory) -> list[Row]:
    """All turns of both, in their order."""
    a, b = steps(left), steps(right)
    rows: list[Row] = []
    i = j = 0
    for m, n in [*_pairs(a, b), (len(a), len(b))]:
        rows += (Row(step, None, ()) for step in a[i:m])
        rows += (Row(None, step, ()) for step in b[j:n])
        if m < len(a):
            rows.append(Row(a[m], b[n], differing(a[m], b[n])))
        i, j = m + 1, n + 1
    return rows


def differing(a: Step, b: Step) -> tuple[Aspect, ...]:
    """What two turns differ in; () where they are the same."""
    same_tools = _names(a) == _names(b)
    found: dict[Aspect, bool] = {
        "phase": a.phase != b.phase,
        "state": a.state != b.state,
        "text": a.said != b.said or a.hint != b.hint,
        "tools": not same_tools,
        "arguments": same_tools and _keys(a) != _keys(b),
        "replies": same_tools and _replies(a) != _replies(b),
    }
    return tuple(aspect for aspect in ASPECTS if found[aspect])


def _pairs(a: Sequence[Step], b: Sequence[Step]) -> list[tuple[int, int]]:
    """Which turns belong together: the way through the table whose likenesses add up to most."""
    if len(a) * len(b) > MOST_CELLS:
        return [(i, i) for i in range(min(len(a), len(b)))]
    alike = [[_likeness(one, other) for other in b] for one in a]
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of a[i:], b[j:]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            paired = alike[i][j] + best[i + 1][j + 1] if alike[i][j] else 0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        if alike[i][j] and best[i][j] == alike[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(a: Step, b: Step) -> int:
    """0: they do not belong together."""
    if not a.calls or not b.calls:
        return 0 if a.calls or b.calls else 4
    same_phase = a.phase == b.phase
    if _keys(a) == _keys(b):
        return 8 + same_phase
    if _names(a) == _names(b):
        return 5 + same_phase
    if set(_names(a)) & set(_names(b)):
        return 3 + same_phase
    return int(same_phase)


def _names(step: Step) -> list[str]:
    return [call.name for call, _ in step.calls]


def _keys(step: Step) -> list[bytes]:
    return [call.key for call, _ in step.calls]


def _replies(step: Step) -> list[tuple[bool, str | None]]:
    return [(call.ok, call.reply) for call, _ in step.calls]
