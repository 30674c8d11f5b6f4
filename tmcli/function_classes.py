"""What the tools of a task do: search, get, create... For training only; no model is ever shown it.

    classes = function_classes.FunctionClasses()                  # as the toolspecs say
    classes = function_classes.read("classes.json")               # {"find_book": "search", ...}, no others
    classes.names                                                 # ("search", "get", ...): in a stable order
    classes.of(task)                                              # {"look_up_volume": "search", ...}
    classes.numbers(task)                                         # {"look_up_volume": 0, ...}

Names are those the task shows; under drift the way back is found. A look-alike (`drift/decoy.py`) does
nothing that its name says, so it has no class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import orjson

from tmcli import drift, toolbox
from tmcli.drift.decoy import Decoy
from tmcli.drift.relabel import Words
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Json, Task


@dataclass(frozen=True)
class FunctionClasses:
    """Tools and what they do."""

    given: dict[str, str] | None = None
    """True name of a tool -> its class; None: the toolspecs say."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All classes there may be; the place of one is its number."""
        return toolbox.CLASSES if self.given is None else tuple(sorted(set(self.given.values())))

    def of(self, task: Task) -> dict[str, str]:
        """Shown name -> class, for the tools that have one."""
        classes = _told(task.env) if self.given is None else self.given
        found: dict[str, str] = {}
        for shown, true in _true_names(task).items():
            if true in classes:
                found[shown] = classes[true]
        return found

    def numbers(self, task: Task) -> dict[str, int]:
        """Shown name -> the number of its class."""
        return {tool: self.names.index(word) for tool, word in self.of(task).items()}

    def check(self, tasks: Iterable[Task]) -> None:
        """Raises `UsageError` where there is nothing to tell apart."""
        found: set[str] = set()
        for task in tasks:
            found.update(self.of(task).values())
            if len(found) > 1:
                return
        problem = (
            f"all tools of the tasks have the same function class, {found.pop()}"
            if found
            else "no tool of the tasks has a function class"
        )
        raise UsageError(problem, 'say what they do: --function-classes FILE, {"find_it": "search", ...}')

    @property
    def key(self) -> Json:
        """What shapes a run, for its key."""
        return {} if self.given is None else {"function_classes": self.given}


def read(file: str) -> FunctionClasses:
    """The classes of a JSON file. Raises `InputError`."""
    try:
        given = orjson.loads(Path(file).read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "check the file", source=file) from error
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"no JSON: {error.msg}", "correct the file", source=file, line=error.lineno
        ) from error
    if not isinstance(given, dict) or not given:
        raise InputError("no object of tool name to class", 'write {"find_it": "search", ...}', source=file)
    for tool, word in given.items():
        if not isinstance(word, str) or not word:
            raise InputError("the class is no word", 'write "search", say', source=file, field=tool)
    return FunctionClasses(given)


def _told(env: Json) -> dict[str, str]:
    """True name -> class, as the toolboxes of a task say."""
    if env.get("kind") != "toolbox":
        return {}
    classes = dict(toolbox.load(env["toolbox"]).classes)
    for distractor in env.get("distractors", ()):
        box, _, tool = distractor.rpartition(".")
        if word := toolbox.load(box).classes.get(tool):
            classes[tool] = word
    for tool, word in classes.items():
        if word not in toolbox.CLASSES:
            problem = f"{word!r} is no function class"
            remedy = did_you_mean(str(word), toolbox.CLASSES)
            raise InputError(problem, remedy, source=env["toolbox"], field=f"classes.{tool}")
    return classes


def _true_names(task: Task) -> dict[str, str]:
    """Shown name -> what the tool is called without drift; look-alikes are left out."""
    found: dict[str, str] = {}
    layers = drift.layers_of(task)[::-1]  # outermost first
    true = Words(task.env.get("words", {})).back()
    for tool in task.tools:
        name = shown = tool["function"]["name"]
        for layer in layers:
            if isinstance(layer, Decoy) and name in layer.of:
                break
            name = layer.before(name, "")[0]
        else:
            found[shown] = true.name(name)
    return found
