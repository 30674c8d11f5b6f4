"""The same tasks under each kind of drift and each strength: what `tm eval --matrix` plays.

    for task in cells({"seen": seen, "unseen": unseen}, ["rename", "all"], [0.5, 1.0], seed=0): ...

All cells of a task come together, the plain one first, so a run that is stopped has whole rows of the pairs
that comparisons need. Each task tells in its tags where it belongs:

    set     which of the sources it came from
    base    the id of the task before any drift: what pairs it with the others
    cells   "none", or kinds with their strengths, "rename@0.5"; several where they leave the same task

A kind that finds nothing to change leaves the plain task, which then counts in that cell too and is played
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tmcli import drift
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Task


def cells(
    sources: Mapping[str, Iterable[Task]], kinds: Sequence[str], strengths: Sequence[float], seed: int
) -> Iterator[Task]:
    """Each task of each source in each cell. A task that comes twice is taken where it came first."""
    words = [f"{kind}@{strength:g}" for kind in kinds for strength in strengths]
    seen: set[str] = set()
    for name, tasks in sources.items():
        for task in tasks:
            if task.id in seen:
                continue
            seen.add(task.id)
            made = {task.id: task}
            places = {task.id: ["none"]}
            for word in words:
                drifted = drift.apply(task, [word], seed)
                made.setdefault(drifted.id, drifted)
                places.setdefault(drifted.id, []).append(word)
            for key, one in made.items():
                own = {"set": name, "base": task.id, "cells": places[key]}
                yield replace(one, tags={**one.tags, **own})


def kinds_of(words: Sequence[str]) -> list[str]:
    """The kinds that a matrix goes over: those named, else each, and all together. Raises `UsageError`.

    >>> kinds_of(["stale", "rename"]), kinds_of([])[-1]
    (['stale', 'rename'], 'all')
    """
    known = [*drift.KINDS, drift.ALL]
    for word in words:
        if "@" in word:
            raise UsageError(f"--drift {word}: a matrix has strengths of its own", "write --strengths 0.5,1")
        if word not in known:
            raise UsageError(f"no drift is named {word!r}", did_you_mean(word, known))
    return list(dict.fromkeys(words)) or known


def strengths_of(words: Sequence[str]) -> list[float]:
    """The strengths from weak to strong; 0, the tools as they are, is always played and need not be named.

    >>> strengths_of(["1", "0.5", "0"])
    [0.5, 1.0]
    """
    found = set()
    for word in words:
        try:
            found.add(float(word))
        except ValueError:
            raise UsageError(f"--strengths: {word!r} is not a number", "write --strengths 0.5,1") from None
    if any(not 0 <= strength <= 1 for strength in found) or not found - {0.0}:
        raise UsageError(
            f"--strengths {','.join(words)}: one above 0 and at most 1 is due", "write --strengths 0.5,1"
        )
    return sorted(found - {0.0})
