"""undocument: descriptions, types, formats, closed lists and what is required are gone from the documents.

Names stay. Of tools and parameters whose names tell nothing the description stays too: a task must remain one
that can be solved.
"""

from __future__ import annotations

import random
from typing import Any

from tmcli.drift import names
from tmcli.drift.layer import Ground, Layer, name_of, properties_of, schema_of
from tmcli.records import Json


class Undocument(Layer):
    kind = "undocument"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.bare: dict[str, list[str]] = entry["bare"]
        """Tool -> the parameters of which the documents say nothing."""

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        tools, like = ground.shows, ground.like
        bare: dict[str, list[str]] = {}
        for name in ground.touched(rng, [name for name in tools if name not in like]):
            bare[name] = [key for key in tools[name] if rng.random() < ground.strength]
        bare |= {fake: bare[real] for fake, real in like.items() if real in bare and fake in tools}
        return {"bare": bare} if bare else None

    def document(self, tools: list[Json]) -> list[Json]:
        return [self._stripped(tool) for tool in tools]

    def _stripped(self, tool: Json) -> Json:
        name = name_of(tool)
        bare = self.bare.get(name)
        if bare is None:
            return tool
        function = dict(tool["function"])
        if not names.opaque(name):
            function.pop("description", None)
        schema = schema_of(tool)
        if schema:
            schema = {key: value for key, value in schema.items() if key not in ("required", "description")}
            properties = properties_of(tool)
            if properties:
                schema["properties"] = {
                    key: _named(value, names.opaque(key)) if key in bare else value
                    for key, value in properties.items()
                }
            function["parameters"] = schema
        return {**tool, "function": function}


def _named(schema: Any, described: bool) -> Any:
    """What is left of a parameter: the names inside it, and its description where that is due."""
    if not isinstance(schema, dict):
        return schema
    left: Json = {}
    inside = schema.get("properties")
    if isinstance(inside, dict):
        left["properties"] = {key: _named(value, False) for key, value in inside.items()}
    if described and "description" in schema:
        left["description"] = schema["description"]
    return left
