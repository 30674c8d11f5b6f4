"""All drift of a task, as one lens between the model and the tools: calls go in, replies come out.

    lens = Lens(layers_of(task), true_tools(task))
    lens.live                                           # the interface: what a call must fit
    crossing = lens.inward("look_up_volume", {...})
    crossing.call                                       # ("find_book", {...}), for the session inside
    lens.outward(crossing, {"book_id": "B417"}, True)   # what the model is told, and whether it is no error

Layers lie in one order, innermost first: rename, format, wrap, decoy, stale, undocument. So an error of each
names things as the layers outside it do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmcli import toolbox
from tmcli.drift.decoy import Decoy
from tmcli.drift.format import Format
from tmcli.drift.layer import Call, Layer, Told
from tmcli.drift.rename import Rename
from tmcli.drift.stale import Stale
from tmcli.drift.undocument import Undocument
from tmcli.drift.wrap import Wrap
from tmcli.errors import InputError, did_you_mean
from tmcli.records import Json, Task

KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in (Rename, Format, Wrap, Decoy, Stale, Undocument)}
"""Innermost first."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A call on its way in."""

    calls: list[Call]
    """As each layer got it, outermost first; of those it did not reach, none."""
    call: Call | None
    """As the tools take it; None when a layer answered itself."""
    told: Told | None = None
    """That answer."""


class Lens:
    """The layers of a task over its true tools."""

    def __init__(self, layers: Sequence[Layer], tools: list[Json]) -> None:
        self.layers = layers
        self.live = tools
        for layer in layers:
            self.live = layer.live(self.live)

    def inward(self, name: str, arguments: Json) -> Crossing:
        """A call that fits the interface, as the tools take it."""
        calls: list[Call] = []
        for layer in reversed(self.layers):
            calls.append((name, arguments))
            try:
                name, arguments = layer.inward(name, arguments)
            except Told as told:
                return Crossing(calls, None, told)
        return Crossing(calls, (name, arguments))

    def page(self, crossing: Crossing) -> int | None:
        """Which page of a reply a call asks for; None where its reply has no pages."""
        for layer, call in zip(reversed(self.layers), crossing.calls, strict=False):
            if (page := layer.page(*call)) is not None:
                return page
        return None

    def outward(self, crossing: Crossing, value: Any, ok: bool) -> tuple[Any, bool]:
        """What is told of this reply or error, and whether it still is a reply."""
        outside = list(zip(reversed(self.layers), crossing.calls, strict=False))
        if crossing.told is not None:
            outside.pop()
            value, ok = crossing.told.value, crossing.told.ok
        for layer, (name, arguments) in reversed(outside):
            if not ok:
                value = layer.outward_error(name, arguments, value)
                continue
            try:
                value = layer.outward(name, arguments, value)
            except Told as told:
                value, ok = told.value, told.ok
        return value, ok

    def outward_call(self, name: str, arguments: Json) -> Call:
        """How a call of the true tools is made through the interface."""
        for layer in self.layers:
            name, arguments = layer.outward_call(name, arguments)
        return name, arguments

    def inward_reply(self, crossing: Crossing, value: Any) -> Any:
        """The tools' reply again, where what was told has it all."""
        for layer, (name, arguments) in zip(reversed(self.layers), crossing.calls, strict=True):
            value = layer.inward_reply(name, arguments, value)
        return value


def layers_of(task: Task) -> list[Layer]:
    """The drift of a task, innermost first. Raises `InputError` for an entry nobody understands."""
    entries = task.env.get("drift", [])
    if not isinstance(entries, list):
        raise InputError("no array of drift", "make the task again", field="env.drift")
    layers: list[Layer] = []
    for entry in entries:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if kind not in KINDS:
            problem = f"no drift is named {kind!r}"
            raise InputError(problem, did_you_mean(str(kind), KINDS), field="env.drift")
        try:
            layers.append(KINDS[kind](entry))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            problem = f"the entry of {kind} lacks or confuses something: {error!r}"
            raise InputError(problem, "make the task again", field="env.drift") from error
    return layers


def true_tools(task: Task) -> list[Json]:
    """What the environment of a task takes, whatever the documents say."""
    schemas: list[Json] | None = task.env.get("schemas")
    if schemas is not None:
        return schemas
    if task.env.get("kind") == "toolbox" and task.env.get("drift"):
        return toolbox.true_tools(task.env)
    return task.tools
