"""Sub-goals: gold values that the replies of named tools should bring (FTRL, arXiv 2508.08791).

solve(made(trajectory), {"find_book": ["B417"]})    # (precision, recall, F1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmcli.records import Task
from tmcli.score.answers import contains
from tmcli.score.calls import Made, values


def solve(calls: list[Made], subgoals: Mapping[str, list[str]]) -> tuple[float, float, float] | None:
    """FTRL's Solve-P, Solve-R and Solve-F1 (arXiv 2508.08791); None when there is no sub-goal.

    c calls made, n gold sub-answers, s of them found: P = s/c (1 when c = 0), R = s/n, F1 = 2s/(c+n).
    A reply of the right tool finds at most one gold, and a gold is found once, so s <= c. As there,
    calls that could not be read do not count.
    """
    n = sum(len(golds) for golds in subgoals.values())
    if n == 0:
        return None
    readable = [call for call in calls if call.readable]
    c, s = len(readable), _found(readable, subgoals, lambda call, gold: True)
    return (s / c if c else 1.0), s / n, 2 * s / (c + n)


def earned(calls: list[Made], task: Task) -> float | None:
    """Solve-F1 for training: what a call was given and its reply only echoes is not found, unless the
    question or an earlier reply had shown it. Else one call stuffed with guesses would find them all."""
    subgoals = task.subgoals or {}
    n = sum(len(golds) for golds in subgoals.values())
    if n == 0:
        return None
    readable = [call for call in calls if call.readable]
    before = {id(call): i for i, call in enumerate(readable)}
    told = [message.get("content") or "" for message in task.messages]

    def is_found(call: Made, gold: str) -> bool:
        if not contains(" ".join(values(call.arguments)), gold):
            return call.ok
        shown = [*told, *(one.reply or "" for one in readable[: before[id(call)]] if one.ok)]
        return call.ok and any(contains(text, gold) for text in shown)

    return 2 * _found(readable, subgoals, is_found) / (len(readable) + n)


def _found(calls: list[Made], subgoals: Mapping[str, list[str]], counts: Callable[[Made, str], bool]) -> int:
    """How many golds the replies of their tools hold, of those pairs that count."""
    left = {tool: list(golds) for tool, golds in subgoals.items()}
    s = 0
    for call in calls:
        golds = left.get(call.name, [])
        found = next((g for g in golds if contains(call.reply or "", g) and counts(call, g)), None)
        if found is not None:
            golds.remove(found)
            s += 1
    return s
