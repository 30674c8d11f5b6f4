"""What two runs must have in common before their numbers are held against each other.

    terms = Terms()
    terms.add(score)                    # each score of a file
    differing(terms, others)            # {"limits": ("{...}", "{...}")}: empty where they compare

The same policy scores differently under another judge, another simulator of tools, other tasks or other
limits: such a difference says nothing about the policies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from tmcli.errors import UsageError
from tmcli.records import Score, digest

FIELDS = ("judge", "simulator", "limits", "tasks")


@dataclass
class Terms:
    """On which terms one file's episodes were played and judged."""

    judge: set[bytes] = field(default_factory=set)
    simulator: set[bytes] = field(default_factory=set)
    limits: set[bytes] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    _last: Any = None
    """The terms of the episode before: most are the same."""

    def add(self, score: Score) -> None:
        self.tasks.add(score.task_id)
        last = score.extra.get("judge"), score.policy.get("simulate"), score.policy.get("limits")
        if last != self._last or not self.limits:
            self._last = last
            self.judge.add(_told(last[0]))
            self.simulator.add(_told(last[1]))
            self.limits.add(_told(last[2]))

    def says(self, name: str) -> str:
        """One of `FIELDS` in words."""
        if name == "tasks":
            return f"{len(self.tasks)} tasks, {digest(sorted(self.tasks))}"
        values = sorted(getattr(self, name))
        return " and ".join("none" if value == b"null" else value.decode() for value in values)


def differing(a: Terms, b: Terms) -> dict[str, tuple[str, str]]:
    """The fields in which they differ, with both values."""
    return {name: (a.says(name), b.says(name)) for name in FIELDS if getattr(a, name) != getattr(b, name)}


def refuse(a: Terms, b: Terms, names: tuple[str, str]) -> None:
    """Raises `UsageError` where they differ."""
    found = differing(a, b)
    if not found:
        return
    told = [f"{name} ({one} in {names[0]}, {other} in {names[1]})" for name, (one, other) in found.items()]
    both = len(a.tasks & b.tasks)
    shared = f"; {both} tasks are in both" if "tasks" in found else ""
    raise UsageError(
        f"these runs do not compare, they differ in {', '.join(told)}{shared}",
        "play them alike, or say --force-compare" + (" to compare the tasks in both" if shared else ""),
    )


def _told(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
