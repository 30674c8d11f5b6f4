"""Two run records of the same evaluation: do they say the same?

    repro = compared(before, now)
    repro.numbers        # [Number("metrics.accuracy", 0.9, 0.8), ...]: those that differ
    repro.facts          # ["versions.tm was '0.7', is '0.8'", ...]: what else differs, and may be why

How long something took is no number of it. All others must be the same to the last bit: what tm plays with a
seed is the same again; what a server samples is not, and then this says how far it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tmcli.errors import UsageError
from tmcli.records import Json, Run

TIMES = ("seconds",)
"""Names of numbers that differ each time."""


@dataclass(frozen=True, slots=True)
class Number:
    """One that differs; None where one record does not have it."""

    name: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Repro:
    """What two records agree in, and what not."""

    same: int
    """Numbers that agree."""
    numbers: list[Number]
    facts: list[str]

    def to_json(self) -> Json:
        """For the run record."""
        differing = [{"name": n.name, "before": n.before, "now": n.now} for n in self.numbers]
        return {"same": self.same, "different": differing, "facts": self.facts}


def arguments(record: Run) -> list[str]:
    """The command line that made a record. Raises `UsageError` for one that cannot be made again."""
    words = record.options.get("arguments")
    if record.step != "eval" or not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise UsageError(
            "this is no run record of tm eval that tells how it was made",
            "give what tm eval wrote (a version before 0.8 did not note its options)",
        )
    if "-" in record.options.get("files", []):
        raise UsageError("what was evaluated came from stdin", "keep it in a file: tm eval FILE")
    return words


def compared(before: Run, now: Run) -> Repro:
    """What `now` has that `before` has not, and the other way round."""
    old = dict(_leaves("", {"counts": before.counts, "metrics": before.metrics}))
    new = dict(_leaves("", {"counts": now.counts, "metrics": now.metrics}))
    names = list(dict.fromkeys([*old, *new]))
    differing = [
        Number(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    ]
    facts = [
        f"{name} was {was!r}, is {has!r}"
        for name, was, has in _facts(_context(before), _context(now))
        if was != has
    ]
    return Repro(len(names) - len(differing), differing, facts)


def _context(run: Run) -> Json:
    rows = run.extra.get("provenance")
    provenance = dict(enumerate(rows)) if isinstance(rows, list) else {}
    return {"versions": run.versions, "provenance": provenance}


def _facts(before: Json, now: Json) -> Iterator[tuple[str, Any, Any]]:
    old, new = dict(_leaves("", before)), dict(_leaves("", now))
    for name in dict.fromkeys([*old, *new]):
        yield name, old.get(name), new.get(name)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each value that is no object and no list, by its path; without times."""
    if isinstance(value, dict):
        for key, item in value.items():
            if str(key) not in TIMES:
                yield from _leaves(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _leaves(f"{name}[{i}]", item)
    else:
        yield name, value
