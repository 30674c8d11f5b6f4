"""What every kind of drift is: a layer between the model and the tools, with its way in and its way out.

A kind is a class with `make(ground, rng)`, which draws what is to be done to a task (JSON, kept in the task),
and methods that do it. Layers lie over one another, see `lens.py`; each sees the calls of the one outside it
and asks the one inside it. All methods are pure; what a kind leaves alone it inherits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tmcli.records import Json, Task

Call = tuple[str, Json]
"""A tool's name and its arguments."""


class Told(Exception):
    """The layer answers the call itself: a refusal in a sentence, or a reply."""

    def __init__(self, value: Any, ok: bool = False) -> None:
        super().__init__(value)
        self.ok = ok
        self.value = value if ok else {"error": value}


@dataclass(slots=True)
class Ground:
    """What a kind sees of the task when it is made."""

    task: Task
    live: list[Json]
    """What the layer inside takes."""
    documents: list[Json]
    """What is shown so far."""
    layers: Sequence[Layer]
    """Those inside, innermost first."""
    calls: list[Call]
    """The calls of the plan, by the names that the layer inside has."""
    strength: float
    """How likely each tool, and each of its parameters or values, is touched."""
    most: int
    """How many turns the plan may lose to this kind; one it always may."""

    indexed: dict[int, tuple[list[Json], dict[str, Json]]]
    """Lists of tools by their `id`, each with what `takes` and `shows` tell of it."""
    planned: Counter[str] = field(init=False)
    """The tools of the plan, and how often each is called."""

    def __post_init__(self) -> None:
        self.planned = Counter(name for name, _ in self.calls)

    @property
    def takes(self) -> dict[str, Json]:
        """Live tool -> its parameters."""
        return self._index(self.live)

    @property
    def shows(self) -> dict[str, Json]:
        """Shown tool -> its parameters."""
        return self._index(self.documents)

    def _index(self, tools: list[Json]) -> dict[str, Json]:
        if id(tools) not in self.indexed:
            self.indexed[id(tools)] = tools, {name_of(tool): properties_of(tool) for tool in tools}
        return self.indexed[id(tools)][1]

    @property
    def like(self) -> dict[str, str]:
        """Look-alike -> the tool it looks like."""
        return {fake: real for layer in self.layers for fake, real in layer.entry.get("of", {}).items()}

    def before(self, tool: str, parameter: str = "") -> tuple[str, str]:
        """What a tool and a parameter of it were called before any drift."""
        for layer in reversed(self.layers):
            tool, parameter = layer.before(tool, parameter)
        return tool, parameter

    def touched(self, rng: random.Random, candidates: Collection[str], longer: bool = False) -> list[str]:
        """Which of these tools are touched: each with the strength as its chance, one of the plan at least.
        Where the kind makes calls `longer`, tools of the plan beyond `most` are spared."""
        chosen = [name for name in candidates if rng.random() < self.strength]
        due = [name for name in candidates if name in self.planned] or list(candidates)
        if due and not any(name in due for name in chosen):
            chosen.append(rng.choice(due))
        if longer:
            planned = [name for name in chosen if name in self.planned]
            spared = set(planned[max(1, self.most) :])
            chosen = [name for name in chosen if name not in spared]
        return chosen


class Layer:
    """One kind of drift over a task, made from its entry in `env["drift"]`."""

    kind: ClassVar[str]

    def __init__(self, entry: Json) -> None:
        self.entry = entry

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        """What is to be done, or None where there is nothing to make unfamiliar."""
        raise NotImplementedError

    def longer(self, calls: Sequence[Call]) -> int:
        """How many turns a plan of these calls (by the names of the layer inside) may lose to it."""
        return 0

    # ---- what is shown, and what is taken

    def document(self, tools: list[Json]) -> list[Json]:
        """The documents as they become."""
        return tools

    def live(self, tools: list[Json]) -> list[Json]:
        """The interface as it becomes."""
        return tools

    def documented(self, tool: str, parameter: str) -> tuple[str, str]:
        """What the documents call a parameter that they called so."""
        return tool, parameter

    def named(self, tool: str, parameter: str) -> tuple[str, str]:
        """What the interface calls a parameter that it called so."""
        return tool, parameter

    def before(self, tool: str, parameter: str) -> tuple[str, str]:
        """The way back from `named`."""
        return tool, parameter

    # ---- calls and replies

    def inward(self, name: str, arguments: Json) -> Call:
        """A call as the layer inside takes it. Raises `Told`."""
        return name, arguments

    def outward_call(self, name: str, arguments: Json) -> Call:
        """The way back: how a call of the layer inside is made here."""
        return name, arguments

    def outward(self, name: str, arguments: Json, value: Any) -> Any:
        """What the layer inside replied to this call, as it is told here. Raises `Told`."""
        return value

    def inward_reply(self, name: str, arguments: Json, value: Any) -> Any:
        """The way back, where one reply has it all."""
        return value

    def outward_error(self, name: str, arguments: Json, value: Json) -> Json:
        """What the layer inside had against this call, as it is told here."""
        return value

    def page(self, name: str, arguments: Json) -> int | None:
        """Which page of a reply this call asks for; None where replies have no pages."""
        return None

    # ---- what is right

    def answer(self, golds: list[str]) -> list[str]:
        """The accepted answers."""
        return golds

    def subgoals(self, golds: dict[str, list[str]]) -> dict[str, list[str]]:
        """What replies should bring, by tool."""
        return golds


def renamed(layer: Layer, calls: list[Call]) -> list[Call]:
    """Calls of the layer inside, by the names that this one has for tools and parameters."""
    if type(layer).named is Layer.named:
        return calls
    return [
        (layer.named(tool, "")[0], {layer.named(tool, key)[1]: value for key, value in arguments.items()})
        for tool, arguments in calls
    ]


# ---- schemas: they come from anywhere, so a part that is no object is left alone -------------------


def name_of(tool: Json) -> str:
    name: str = tool["function"]["name"]
    return name


def schema_of(tool: Json) -> Json:
    """The schema of the tool's parameters; {} where there is none."""
    schema = tool["function"].get("parameters")
    return schema if isinstance(schema, dict) else {}


def properties_of(tool: Json) -> Json:
    """Parameter -> its schema."""
    schema = tool["function"].get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def with_function(tool: Json, **changed: Any) -> Json:
    """The tool with other parts."""
    return {**tool, "function": {**tool["function"], **changed}}


def with_properties(tool: Json, properties: Json, renamed: dict[str, str]) -> Json:
    """The tool with these parameters, whose names in `required` are exchanged too."""
    schema = {**schema_of(tool), "properties": properties}
    required = schema.get("required")
    if renamed and isinstance(required, list):
        schema["required"] = [renamed.get(name, name) if isinstance(name, str) else name for name in required]
    return with_function(tool, parameters=schema)


def renamed_properties(tool: Json, names: dict[str, str]) -> Json:
    """The tool with parameters under other names, in the same places."""
    properties = {names.get(name, name): schema for name, schema in properties_of(tool).items()}
    return with_properties(tool, properties, names)
