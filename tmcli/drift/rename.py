"""rename: tools and parameters have other names, and the documents say so.

Either words for words (`look_up_volume`) or names that tell nothing (`fn_3a`, `arg_1`): then descriptions say
what the things are.
"""

from __future__ import annotations

import random
import re

from tmcli.drift import names
from tmcli.drift.forms import texts
from tmcli.drift.layer import (
    Call,
    Ground,
    Layer,
    name_of,
    properties_of,
    renamed_properties,
    with_function,
    with_properties,
)
from tmcli.records import Json

OPAQUE = 0.4
"""How often the names of a task tell nothing."""


class Rename(Layer):
    kind = "rename"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.tools: dict[str, str] = entry["tools"]
        """New name -> name before."""
        self.new = {old: new for new, old in self.tools.items()}
        self.parameters: dict[str, dict[str, str]] = entry["parameters"]
        """New name of the tool -> new name of the parameter -> name before."""
        self.new_parameters = {
            tool: {old: new for new, old in renamed.items()} for tool, renamed in self.parameters.items()
        }

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        tools = ground.takes
        if not tools:
            return None
        opaque = rng.random() < OPAQUE
        taken = set(tools)
        new_tools: dict[str, str] = {}
        new_parameters: dict[str, dict[str, str]] = {}
        for name in ground.touched(rng, tools):
            new = names.free(rng, names.nameless(rng) if opaque else names.tools(name), taken)
            taken.add(new)
            new_tools[new] = name
            own = list(tools[name])
            renamed: dict[str, str] = {}
            for number, parameter in enumerate(own, 1):
                if rng.random() < ground.strength:
                    others = [f"arg_{number}"] if opaque else names.parameters(parameter)
                    renamed[names.free(rng, others, {*own, *renamed})] = parameter
            if renamed:
                new_parameters[new] = renamed
        return {"tools": new_tools, "parameters": new_parameters}

    def document(self, tools: list[Json]) -> list[Json]:
        return [self._renamed(tool) for tool in tools]

    live = document

    def documented(self, tool: str, parameter: str) -> tuple[str, str]:
        tool = self.new.get(tool, tool)
        return tool, self.new_parameters.get(tool, {}).get(parameter, parameter)

    named = documented

    def before(self, tool: str, parameter: str) -> tuple[str, str]:
        return self.tools.get(tool, tool), self.parameters.get(tool, {}).get(parameter, parameter)

    def inward(self, name: str, arguments: Json) -> Call:
        renamed = self.parameters.get(name, {})
        return self.tools.get(name, name), {renamed.get(key, key): value for key, value in arguments.items()}

    def outward_call(self, name: str, arguments: Json) -> Call:
        name = self.new.get(name, name)
        renamed = self.new_parameters.get(name, {})
        return name, {renamed.get(key, key): value for key, value in arguments.items()}

    def outward_error(self, name: str, arguments: Json, value: Json) -> Json:
        """Names that a tool's own error quotes."""
        known = {**self.new, **self.new_parameters.get(name, {})}
        return {
            key: texts(item, lambda text: _QUOTED.sub(lambda at: f"'{known.get(at[1], at[1])}'", text))
            for key, item in value.items()
        }

    def subgoals(self, golds: dict[str, list[str]]) -> dict[str, list[str]]:
        return {self.new.get(tool, tool): due for tool, due in golds.items()}

    def _renamed(self, tool: Json) -> Json:
        name = name_of(tool)
        new = self.new.get(name)
        if new is None:
            return tool
        if renamed := self.new_parameters.get(new):
            tool = renamed_properties(tool, renamed)
        if names.opaque(new):
            properties = {
                key: _described(schema, self.parameters.get(new, {}).get(key))
                for key, schema in properties_of(tool).items()
            }
            tool = with_properties(tool, properties, {}) if properties else tool
            told = tool["function"].get("description")
            said = " ".join(names.words(name)) or name
            return with_function(tool, name=new, description=f"{said}. {told}" if told else said)
        return with_function(tool, name=new)


_QUOTED = re.compile(r"'(\w+)'")


def _described(schema: Json, before: str | None) -> Json:
    """A parameter whose name tells nothing any more says what it is."""
    if before is None or not isinstance(schema, dict):
        return schema
    said = " ".join(names.words(before)) or before
    told = schema.get("description")
    return {**schema, "description": f"{said}: {told}" if told else said}
