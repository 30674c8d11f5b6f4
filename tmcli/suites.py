"""Suites of tasks: the templates of toolboxes, over worlds drawn from a seed.

    for task in suites.suite("train", n=200): ...            # train | seen | unseen
    for task in suites.suite("mytools/", n=50): ...          # one toolbox alone, by name or path

What a template is, is told in `templates.py`. World, template, rows and wording are drawn from the suite's
name, its seed and the task's number, so task i is the same whatever n is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tmcli import drift as drifts
from tmcli import templates, toolbox
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Task, digest
from tmcli.templates import HELD_OUT
from tmcli.toolbox import Toolbox

SUITES = ("train", "seen", "unseen")
"""`train`, and held out from it: `seen` (the same toolboxes, other worlds), `unseen` (other toolboxes)."""

DEFAULT_N = {"train": 200, "seen": 100, "unseen": 100}
OWN_N = 100
"""How many tasks a toolbox alone gives, when nobody says."""

MAX_DRAWS = 25
"""How often a task is made anew when its question was asked before."""


def suite(
    name: str,
    n: int | None = None,
    seed: int = 0,
    drift: Sequence[str] = (),
    boxes: Sequence[str] = (),
    hops: Sequence[int] = (),
) -> Iterator[Task]:
    """The first `n` tasks of a suite, or of one toolbox. Toolboxes take turns; no question comes twice while
    there are others. `boxes` and `hops` keep to these toolboxes and numbers of calls.

    Raises `UsageError` for a suite, toolbox or drift nobody knows, and where no template fits.
    """
    chosen = [box for box in members(name, boxes) if templates.of(box, hops)]
    if not chosen:
        if not hops:
            remedy = "write some: TEMPLATES in its tasks.py (NAME_tasks.py beside a file NAME.py)"
            raise UsageError(f"{name} has no task templates", remedy)
        calls = " or ".join(map(str, hops))
        raise UsageError(f"no toolbox of {name} has a task of {calls} calls", "choose other numbers")
    first = int(digest([name, seed]), 16) % (1 << 30) + (0 if name == "train" else HELD_OUT)
    due = DEFAULT_N.get(name, OWN_N) if n is None else n
    return drifts.over(_tasks(name, chosen, due, seed, first, hops), drift, seed)


def members(name: str, only: Sequence[str] = ()) -> list[Toolbox]:
    """The toolboxes of a suite (only these of them), or the one of this name or path."""
    if name in SUITES:
        split = "unseen" if name == "unseen" else "seen"
        found = [box for box in map(toolbox.load, toolbox.names()) if box.split == split]
    elif name in toolbox.names() or toolbox.is_path(name):
        found = [toolbox.load(name)]
    else:
        known = did_you_mean(name, [*SUITES, *toolbox.names()])
        raise UsageError(f"no suite and no toolbox is named {name!r}", known)
    boxes = {box.name: box for box in found}
    for box in only:
        if box not in boxes:
            raise UsageError(f"suite {name} has no toolbox {box!r}", did_you_mean(box, boxes))
    return [box for box in found if not only or box.name in only]


def _tasks(
    name: str, boxes: list[Toolbox], n: int, seed: int, first: int, hops: Sequence[int]
) -> Iterator[Task]:
    """Task i, and a new draw where its question was asked before; all before it are always made first."""
    asked: set[str] = set()
    for i in range(n):
        box = boxes[i % len(boxes)]
        others = [other for other in boxes if other is not box] or _rest_of_split(box)
        for draw in range(MAX_DRAWS):
            made = templates.make(box, first + i, random.Random(f"{name}:{seed}:{i}:{draw}"), hops, others)
            question = made.messages[0]["content"]
            if question not in asked:
                break
        asked.add(question)
        yield replace(made, source=f"suite:{name}:{seed}:{i}")


def _rest_of_split(box: Toolbox) -> list[Toolbox]:
    boxes = map(toolbox.load, toolbox.names())
    return [other for other in boxes if other.split == box.split and other.name != box.name]
