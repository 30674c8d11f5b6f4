"""stale: the documents describe an older version, in which parameters had other names. Only errors tell."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tmcli.drift import names
from tmcli.drift.layer import Call, Ground, Layer, name_of, renamed_properties
from tmcli.records import Json


class Stale(Layer):
    kind = "stale"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.renamed: dict[str, dict[str, str]] = entry["renamed"]
        """Tool -> shown name -> the name it stands for."""
        self.shown = {
            tool: {real: shown for shown, real in renamed.items()} for tool, renamed in self.renamed.items()
        }

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        """Old names in the documents of tools that have parameters; look-alikes are out of date alike."""
        shown, like = ground.shows, ground.like
        renamed: dict[str, dict[str, str]] = {}
        for name in ground.touched(rng, [name for name in shown if shown[name] and name not in like], True):
            own = list(shown[name])
            chosen = [key for key in own if rng.random() < ground.strength] or [rng.choice(own)]
            taken = {*own, *ground.takes.get(name, ())}
            old: dict[str, str] = {}
            for parameter in chosen:
                known = parameter if names.opaque(parameter) else ground.before(name, parameter)[1]
                old[names.free(rng, names.parameters(known), taken | old.keys())] = parameter
            renamed[name] = old
        renamed |= {fake: renamed[real] for fake, real in like.items() if real in renamed}
        return {"renamed": renamed} if renamed else None

    def longer(self, calls: Sequence[Call]) -> int:
        return len({name for name, _ in calls} & self.renamed.keys())

    def document(self, tools: list[Json]) -> list[Json]:
        return [
            renamed_properties(tool, shown) if (shown := self.shown.get(name_of(tool))) else tool
            for tool in tools
        ]

    def documented(self, tool: str, parameter: str) -> tuple[str, str]:
        return tool, self.shown.get(tool, {}).get(parameter, parameter)
