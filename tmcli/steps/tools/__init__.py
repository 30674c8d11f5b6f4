"""What `tm tools check` and `tm tools init` do: find all that is wrong with tools, and start new ones.

    checked = check("mytools/")          # or a Python file, an OpenAPI document, an MCP configuration
    for fault in checked.faults: ...     # every one, with its place and remedy

First what is written is read (`schemas.py`, `sources.py`, `templates.py`), then it is run (`trials.py`). What
cannot be run for an earlier fault is left out.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from tmcli import signatures, toolbox
from tmcli.catalog import catalog_of
from tmcli.errors import InputError
from tmcli.records import Json
from tmcli.signatures import Source
from tmcli.steps.tools import schemas, sources
from tmcli.steps.tools.trials import Trials
from tmcli.toolbox import Toolbox


@dataclass(slots=True)
class Checked:
    """What was found."""

    source: str
    faults: list[InputError] = field(default_factory=list)
    n_tools: int = 0
    n_templates: int = 0
    n_played: int = 0
    """Tasks whose plans were played."""

    @property
    def summary(self) -> str:
        """What was looked at."""
        tools = "1 tool" if self.n_tools == 1 else f"{self.n_tools} tools"
        return tools + (
            f", {self.n_templates} task templates, {self.n_played} tasks played" if self.n_played else ""
        )


def fault_json(fault: InputError) -> Json:
    """A fault as one object."""
    place = {"file": fault.source, "line": fault.line, "field": fault.field}
    return {**place, "problem": fault.problem, "remedy": fault.remedy}


def check(source: str) -> Checked:
    """Everything that is wrong with a source of tools. Raises `UsageError` where there is none."""
    path = Path(source)
    if source in toolbox.names() or (path / "tools.json").exists() or (path / "tools.py").exists():
        return _check_folder(source)
    if path.suffix == ".py" and path.is_file():
        return _check_file(source)
    return _check_document(source)


def _check_document(source: str) -> Checked:
    try:
        tools = catalog_of(source).tools
    except InputError as error:
        return Checked(source, [error])
    return Checked(source, list(schemas.faults(tools, source, typed=False)), len(tools))


def _check_file(source: str) -> Checked:
    try:
        tools, faults = signatures.survey(source)
    except InputError as error:
        return Checked(source, [error])
    written = signatures.read(source)
    path = Path(source)
    wrong = {fault.field.partition(".")[0] for fault in faults}
    usable = [tool for tool in tools if tool["function"]["name"] not in wrong]
    box = Toolbox(path.stem, "own", "", usable, {}, written.text, path.parent, path, source)
    checked = Checked(source, [*faults, *schemas.faults(tools, source, typed=False)], len(tools))
    return _try(checked, box, written, source, str(box.tasks_file), objects=False)


def _check_folder(source: str) -> Checked:
    place = toolbox.folder() / source if source in toolbox.names() else Path(source)
    shown = os.path.relpath(place) if place.is_relative_to(Path.cwd()) else str(place)
    checked = Checked(source)
    spec, written = None, None
    try:
        spec = sources.spec_of(place, shown)
    except InputError as error:
        checked.faults.append(error)
    try:
        written = signatures.read(str(place / "tools.py"))
    except InputError as error:
        checked.faults.append(sources.moved(error, f"{shown}/tools.py"))
    if spec is None or written is None:
        return checked
    checked.faults += sources.faults(spec, written, shown)
    checked.n_tools = len(sources.functions(spec))
    tools = sources.runnable(spec, written)
    name, file = str(spec.get("name")), place / "tools.py"
    box = Toolbox(name, "own", "", tools, {}, written.text, place, file, source)
    return _try(checked, box, written, f"{shown}/tools.py", f"{shown}/tasks.py", objects=True)


def _try(
    checked: Checked, box: Toolbox, written: Source, file: str, tasks_file: str, *, objects: bool
) -> Checked:
    lines = {name: function.line for name, function in written.functions.items()}
    if written.world_line:
        lines[signatures.MAKE_WORLD] = written.world_line
    trials = Trials(box, file, tasks_file, lines, objects=objects)
    asyncio.run(trials.run())
    checked.faults += trials.faults
    checked.n_templates, checked.n_played = len(trials.templates), trials.n_played
    return checked
