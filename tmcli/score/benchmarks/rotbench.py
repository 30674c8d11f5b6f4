"""RoTBench (arXiv 2401.08326): tool selection, parameter identification, content filling of one next call.

    official(("translate", {"text": "hi"}), [("translate", {"text": "hi"})])    # (1.0, 1.0, 1.0)

TS: the tool is one that a gold names. PI: and the parameters have the gold's names. CF: and its values. Two
rules are in use, and their numbers must not be mixed: RoTBench's own (`Code/Evaluation/evaluate.py`, here for
answers in its Thought-Action form) and FTRL's (`Code/evaluation/evaluation_rotbench.py`, arXiv 2508.08791).
They part where
- a call has no arguments: RoTBench counts it as wrong throughout, FTRL as any other;
- the tool is the one that ends the task, or asks the user: RoTBench takes `finish` for whatever the ending
  tool is named, and compares no values of these two, FTRL treats them as any other;
- a gold value is "None": RoTBench leaves that parameter out of the comparison;
- values stand under the wrong names: RoTBench sees it, FTRL compares them as a bag. A value that is a list or
  an object breaks its comparison, and there CF stays 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

Call = tuple[str, Any]
"""Name and arguments."""
Marks = tuple[float, float, float]
"""TS, PI, CF."""

FINISH = "finish"
NONE: Marks = (0.0, 0.0, 0.0)


def official(
    call: Call | None, golds: Sequence[Call], ends: str = FINISH, asks: str = "ask_to_user"
) -> Marks:
    """RoTBench's own rule; `ends` and `asks` are the names that the last and the last but one of its tools
    have in this task.

    >>> official(("f", {"a": 1, "b": 2}), [("f", {"a": 2, "b": 1})]), official(("f", {}), [("f", {})])
    ((1.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    >>> official(("finish", {"answer": "x"}), [("f_end", {"answer": "y"})], ends="f_end")
    (1.0, 1.0, 1.0)
    """
    if call is None or not isinstance(call[1], dict) or not call[1]:
        return NONE
    name, given = call
    best = NONE
    for gold, wanted in golds:
        if gold == ends and name == FINISH:
            name = gold
        if gold != name:
            continue
        best = max(best, (1.0, 0.0, 0.0))
        if wanted.keys() != given.keys():
            continue
        best = max(best, (1.0, 1.0, 0.0))
        compared = [key for key, value in wanted.items() if value != "None"]
        if gold in (ends, asks) or all(wanted[key] == given[key] for key in compared):
            return 1.0, 1.0, 1.0
        given = {key: given[key] for key in compared}  # left out of what follows too, as there
    return best


def ftrl(call: Call | None, golds: Sequence[Call]) -> Marks:
    """FTRL's rule.

    >>> ftrl(("f", {"a": 1, "b": 2}), [("f", {"a": 2, "b": 1})]), ftrl(("f", {}), [("f", {})])
    ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    >>> ftrl(("f", {"a": [1]}), [("f", {"a": [1]})]), ftrl(("g", {}), [("f", {})])
    ((1.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    """
    if call is None or not isinstance(call[1], dict):
        return NONE
    name, given = call
    best = NONE
    for gold, wanted in golds:
        if gold != name:
            continue
        best = max(best, (1.0, 0.0, 0.0))
        if wanted.keys() != given.keys():
            continue
        best = max(best, (1.0, 1.0, 0.0))
        try:
            if Counter(wanted.values()) == Counter(given.values()):
                return 1.0, 1.0, 1.0
        except TypeError:  # a list or an object: there the scorer stops here
            return best
    return best
