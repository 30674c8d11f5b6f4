"""Tools of a toolbox: `{"kind": "toolbox", "toolbox": "library", "seed": 123}`.

    "toolbox"       the name of a built-in one, or the path of a folder or Python file
    "without"       tools of it that this task does not have
    "distractors"   tools of other toolboxes, as `flights.find_flight`, over their worlds of the same seed

The child builds a world once, `make_world(seed)`, and each call is `function(world, **arguments)` after the
arguments were checked against the toolbox's true schemas. What the function raises is told as its message
alone; a result is written as JSON. Sessions share a child where all their tools are of built-in toolboxes;
one of your own, a copy of a built-in one too, has a child for each session.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tmcli import toolbox
from tmcli.environments.arguments import fault
from tmcli.environments.machinery import Machinery
from tmcli.environments.sandbox import SandboxSession, code
from tmcli.errors import InputError
from tmcli.records import Json, Task


def open_session(task: Task, machinery: Machinery) -> SandboxSession:
    """A session over the toolbox the task names."""
    name, seed = task.env.get("toolbox"), task.env.get("seed")
    if not isinstance(name, str) or not isinstance(seed, int):
        raise InputError("no toolbox name with a whole number as seed", "correct the task", field="env")
    for key in ("distractors", "without"):
        if not _are_names(task.env.get(key, [])):
            raise InputError("no list of tool names", "correct the task", field=f"env.{key}")
    boxes = [box := toolbox.load(name)]
    tools = toolbox.true_tools(task.env)
    others: dict[str, Json] = {}
    for distractor in task.env.get("distractors", []):
        place, _, tool = distractor.rpartition(".")
        if place not in others:
            boxes.append(toolbox.load(place))
            others[place] = {"name": place, **code(place, boxes[-1].source), "tools": []}
        others[place]["tools"].append(tool)
    spec = {"kind": "toolbox", "name": box.name, "seed": seed, **code(box.name, box.source)}
    if others:
        spec["others"] = list(others.values())
    shared = all(box.file in _ours() for box in boxes)
    return machinery.sandbox.open(spec, lambda tool, arguments: fault(tools, tool, arguments), shared)


@cache
def _ours() -> frozenset[Path]:
    """Where the functions of the built-in toolboxes are: what lies elsewhere may be anybody's."""
    return frozenset(toolbox.folder() / name / "tools.py" for name in toolbox.names())


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
