"""What the scripted expert believes about the tools: first what the documents say, then what replies taught.

    beliefs = Beliefs(task)
    name, sent = beliefs.call("find_book", {"title": "Emma"})    # by the plan's names -> as believed
    lessons = beliefs.learn("find_book", sent, error)            # what was not known before, in sentences

Plans name tools and parameters by their true names and write values as the question does. `known` beliefs are
right from the start: for the golden path. Nothing here asks a tool or looks at a world.
"""

from __future__ import annotations

import re
from typing import Any

from tmcli import drift
from tmcli.drift import forms, names
from tmcli.records import Json, Task

PARAMETERS = re.compile(r"\bparameters are: (.*)$", re.DOTALL)
"""Where an error lists what a tool takes."""

_WRITTEN = re.compile(r"\bmust be written (?:(\S+), )?like (\S+?)(?:;|$)")
_LISTED = re.compile(r"^(\S+?)(?:\[\d+\])? must be one of: (.*)$", re.DOTALL)


class Beliefs:
    """Of one episode."""

    def __init__(self, task: Task, known: bool = False) -> None:
        layers = drift.layers_of(task)
        documents = [tool["function"] for tool in task.tools]
        self.documented: dict[str, list[str]] = {
            function["name"]: list((function.get("parameters") or {}).get("properties") or {})
            for function in documents
        }
        """Shown tool -> the parameters it is shown with."""
        self.alike: dict[str, list[str]] = {}
        """Tool -> the shown tools that may be it, the one to call first. None: there is no such tool."""
        self.names: dict[str, dict[str, str]] = {}
        """Tool -> parameter -> what it is called."""
        self.dates: str | None = None
        """How dates, and how ids are written; None: as in the question."""
        self.ids: str | None = None
        self.codes: dict[str, list[str]] = {}
        """What a parameter is called -> how the values of its closed list are written."""
        for step in task.plan or []:
            tool = shown = step["name"]
            for layer in layers:
                shown, _ = layer.documented(shown, "")
            self.alike[tool] = [shown] if shown in self.documented else []
            called = self.names.setdefault(tool, {})
            for parameter in step["arguments"]:
                at, name = tool, parameter
                for layer in layers:
                    at, name = layer.named(at, name) if known else layer.documented(at, name)
                called[parameter] = name
        for layer in layers:
            if layer.kind == "decoy" and not known:
                for tool, (*real,) in self.alike.items():
                    like = {fake for fake, name in layer.entry["of"].items() if name in real}
                    self.alike[tool] = [name for name in self.documented if name in like or name in real]
            elif layer.kind == "format" and known:
                self.dates, self.ids = layer.entry.get("dates"), layer.entry.get("ids")
                for enum in layer.entry.get("enums", ()):
                    self.codes |= {key: list(enum["values"].values()) for key in enum["keys"]}

    def call(self, tool: str, arguments: Json) -> tuple[str, Json]:
        """How to make a call of the plan."""
        called = self.names[tool]
        return self.alike[tool][0], {
            called[parameter]: self._written(parameter, called[parameter], value)
            for parameter, value in arguments.items()
        }

    def _written(self, parameter: str, name: str, value: Any) -> Any:
        unit, small = names.unit_of(parameter), names.unit_of(name)
        if unit in forms.UNITS and forms.UNITS[unit][0] == small:
            number = forms.scaled(value, forms.UNITS[unit][1])
            return value if number is None else number
        if self.dates:
            value = forms.texts(value, forms.into(self.dates))
        if self.ids:
            value = forms.texts(value, forms.into(self.ids))
        if name not in self.codes:
            return value
        if isinstance(value, list):
            return [self._coded(name, item) for item in value]
        return self._coded(name, value)

    def _coded(self, name: str, value: Any) -> Any:
        return forms.recognised(value, self.codes[name]) or value if isinstance(value, str) else value

    def learn(self, tool: str, sent: Json, error: str) -> list[str]:
        """What an error taught about a call of this tool, in sentences; nothing that was known."""
        return [*self._learn_names(tool, error), *self.learn_forms(error), *self._learn_codes(sent, error)]

    def takes(self, tool: str) -> str:
        """What a tool takes, in a sentence."""
        return f"{self.alike[tool][0]} takes {', '.join(self.names[tool].values()) or 'nothing'}"

    def doubt(self, tool: str, why: str) -> list[str]:
        """This tool is not the right one: turn to the next that looks like it, if there is one."""
        if len(self.alike[tool]) < 2:
            return []
        wrong = self.alike[tool].pop(0)
        return [f"{wrong} has {why}, try {self.alike[tool][0]}"]

    def _learn_names(self, tool: str, error: str) -> list[str]:
        """An error lists what a tool really takes: what is not in the documents stands, in order, for what is
        only in the documents."""
        found = PARAMETERS.search(error)
        if not found:
            return []
        real = found[1].split(", ")
        shown = self.documented[self.alike[tool][0]]
        strange = [name for name in shown if name not in real]
        unknown = [name for name in real if name not in shown]
        meant = dict(zip(strange, unknown, strict=False))
        before = dict(self.names[tool])
        self.names[tool] = {parameter: meant.get(name, name) for parameter, name in before.items()}
        return [self.takes(tool)] if self.names[tool] != before else []

    def learn_forms(self, error: str) -> list[str]:
        """How all tools write dates and ids; nothing that was known."""
        lessons = []
        for mask, shown in _WRITTEN.findall(error):
            if mask and self.dates is None:
                self.dates = forms.form_of(shown, forms.DATES)
                lessons += [f"dates are written {self.dates}"] if self.dates else []
            elif not mask and self.ids is None:
                self.ids = forms.form_of(shown, forms.IDS)
                lessons += [f"ids are written like {shown}"] if self.ids else []
        return lessons

    def _learn_codes(self, sent: Json, error: str) -> list[str]:
        found = _LISTED.search(error)
        if not found or found[1] not in sent or found[1] in self.codes:
            return []
        name, value = found[1], sent[found[1]]
        self.codes[name] = found[2].split(", ")
        words = {word: self._coded(name, word) for word in (value if isinstance(value, list) else [value])}
        return [f"{name} {word} is written {way}" for word, way in words.items() if way != word]
