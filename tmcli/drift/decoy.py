"""decoy: look-alikes of tools, with the same documents and other names. They answer with nothing or old data.

Old data are what the tool replies with other numbers, and say their year (`"updated": 2009`); only tools that
do nothing but look have such look-alikes. So replies tell which tool is the right one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tmcli.drift import forms, names
from tmcli.drift.layer import Call, Ground, Layer, Told, name_of, with_function
from tmcli.records import Json

MOST = 3
"""Look-alikes of a task."""

UPDATED = "updated"
"""The key under which old data say their year."""

RESULTS = "results_then"
"""The key of old data that are no object."""

YEARS = range(2003, 2014)
COUNTS = ("page", "pages", "count")
"""Numbers that belong to the shape of a reply, where it has one of `wrap.py`."""


class Decoy(Layer):
    kind = "decoy"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.of: dict[str, str] = entry["of"]
        """Look-alike -> the tool it looks like."""
        self.empty: dict[str, Any] = entry.get("empty", {})
        """Look-alike -> all it ever replies."""
        self.old: dict[str, Json] = entry.get("old", {})
        """Look-alike -> the `year` of its data, and by how much its numbers are `off`."""
        self.places: dict[str, int] = entry["places"]
        """Look-alike -> its place in the documents."""

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        shown = ground.shows
        taken = {*shown, *ground.takes}
        chosen = ground.touched(rng, shown, True)
        planned = next((name for name in chosen if name in ground.planned), None)
        rng.shuffle(chosen)
        if planned is not None and ground.planned.keys().isdisjoint(chosen[:MOST]):
            chosen.insert(0, planned)
        entry: Json = {"of": {}, "places": {}}
        n = len(shown)
        for name in chosen[:MOST]:
            fake = names.free(rng, _look_alikes(rng, name), taken)
            taken.add(fake)
            entry["of"][fake] = name
            entry["places"][fake] = rng.randint(0, n)
            n += 1
            if names.reads(ground.before(name)[0]) and rng.random() < 0.5:
                old = {"year": rng.choice(YEARS), "off": rng.choice((-1, 1)) * rng.randint(1, 9)}
                entry.setdefault("old", {})[fake] = old
            else:
                entry.setdefault("empty", {})[fake] = rng.choice(({}, {"results": []}))
        return entry if entry["of"] else None

    def longer(self, calls: Sequence[Call]) -> int:
        return len({name for name, _ in calls} & set(self.of.values()))

    def document(self, tools: list[Json]) -> list[Json]:
        by_name = {name_of(tool): tool for tool in tools}
        shown = list(tools)
        for fake, place in self.places.items():
            if (real := by_name.get(self.of[fake])) is not None:
                shown.insert(place, with_function(real, name=fake))
        return shown

    live = document

    def before(self, tool: str, parameter: str) -> tuple[str, str]:
        return self.of.get(tool, tool), parameter

    def inward(self, name: str, arguments: Json) -> Call:
        if name in self.empty:
            raise Told(self.empty[name], ok=True)
        return self.of.get(name, name), arguments

    def outward(self, name: str, arguments: Json, value: Any) -> Any:
        if name not in self.old:
            return value
        year, off = self.old[name]["year"], self.old[name]["off"]
        changed = _shifted(value, off)
        return {**(changed if isinstance(changed, dict) else {RESULTS: changed}), UPDATED: year}

    def inward_reply(self, name: str, arguments: Json, value: Any) -> Any:
        if name not in self.old:
            return value
        rest = {key: item for key, item in value.items() if key != UPDATED}
        return _shifted(rest[RESULTS] if rest.keys() == {RESULTS} else rest, -self.old[name]["off"])

    def outward_error(self, name: str, arguments: Json, value: Json) -> Json:
        return {**value, UPDATED: self.old[name]["year"]} if name in self.old else value


def _look_alikes(rng: random.Random, name: str) -> list[str]:
    if names.opaque(name):
        return names.nameless(rng)
    return [f"{name}_v1", f"old_{name}", f"{name}_2", f"{name}_legacy", *names.tools(name)[:3]]


def _shifted(value: Any, off: int) -> Any:
    """The value with every number in it off by so much. Decimals keep their places."""
    if isinstance(value, list):
        return [_shifted(item, off) for item in value]
    if isinstance(value, dict):
        kept = COUNTS if "page" in value or "results" in value else ()
        return {key: item if key in kept else _shifted(item, off) for key, item in value.items()}
    return forms.shifted(value, off)
