"""Which tokens of an episode belong to which turn.

    for span in spans(trajectory):
        trajectory.tokens["ids"][span.start : span.end]      # sampled in turn `span.turn`
    phases(trajectory)                                       # per token: NONE, TRIAL or EXECUTION

What the policy sampled has mask 1, and between two turns there is always something it did not sample; so the
i-th run of ones is the i-th turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from tmcli.protocol import Phase
from tmcli.records import Trajectory

NONE, TRIAL, EXECUTION = range(3)
CODES: dict[Phase, int] = {"trial": TRIAL, "execution": EXECUTION}


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens of one turn: ids[start:end]."""

    turn: int
    phase: Phase
    start: int
    end: int


def spans(trajectory: Trajectory) -> list[Span]:
    """One a turn. A turn that was played but is not among the tokens (the episode broke off) has none."""
    if trajectory.tokens is None:
        return []
    runs = _runs(trajectory.tokens["mask"])
    return [
        Span(i, turn["phase"], start, end)
        for i, (turn, (start, end)) in enumerate(zip(trajectory.turns, runs, strict=False))
    ]


def phases(trajectory: Trajectory) -> list[int]:
    """The phase that each token was sampled in; NONE for those that were not sampled."""
    if trajectory.tokens is None:
        return []
    codes = [NONE] * len(trajectory.tokens["ids"])
    for span in spans(trajectory):
        codes[span.start : span.end] = [CODES[span.phase]] * (span.end - span.start)
    return codes


def _runs(mask: list[int]) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of ones."""
    at = 0
    for value, members in groupby(mask):
        end = at + sum(1 for _ in members)
        if value:
            yield at, end
        at = end
