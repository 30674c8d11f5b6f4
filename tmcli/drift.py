"""Drift: tools that are not as their documents say. Seeded, and the same in training and evaluation.

    drifted = drift.apply(task, ["stale"], seed)     # another task: other documents, so another id

`task.tools` is what the model is shown; the tools stay as they are, and the environment holds every call
against the true schemas. Nothing is translated for the model: the error tells. What was done is in
`env["drift"]`, for the scripted expert, which must err as the documents make it err, and for readers.

    stale   the documents describe an older version: parameters had other names
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json, Task, task_id

NONE = "none"
"""Not a drift: in a list of kinds it leaves half of the tasks as they are."""

SHARE = 0.7
"""How likely a tool, and then each of its parameters, is out of date."""

OLD = {
    "artist": ("painter", "creator", "maker"),
    "author": ("writer", "creator"),
    "chart": ("file", "record", "chart_no"),
    "city": ("town", "place", "location"),
    "country": ("nation", "region"),
    "date": ("day", "when"),
    "day": ("date", "when"),
    "dish": ("meal", "food", "plate"),
    "drug": ("medicine", "remedy", "drug_name"),
    "guide": ("leader", "host", "guide_name"),
    "hall": ("room", "wing", "hall_no"),
    "jar": ("pot", "container", "jar_id"),
    "location": ("place", "city", "where"),
    "name": ("full_name", "person", "who"),
    "origin": ("start", "source", "from_city"),
    "passenger": ("traveler", "person", "passenger_name"),
    "patient": ("person", "client", "patient_name"),
    "query": ("q", "text", "search"),
    "spice": ("herb", "seasoning", "spice_name"),
    "target": ("goal", "destination", "to_city"),
    "test": ("exam", "measure", "test_name"),
    "ticket": ("booking", "pass", "ticket_no"),
    "title": ("name", "book_title", "heading"),
    "weekday": ("day", "date", "day_name"),
    "work": ("title", "artwork", "piece"),
}
"""Names that a parameter may have had; `old_names` derives further ones."""


def over(tasks: Iterable[Task], kinds: Sequence[str], seed: int) -> Iterator[Task]:
    """The tasks under drift. With `none` among the kinds, one of each two neighbours stays as it is: which
    one is drawn, for a strict turn would fall in step with the turns of the toolboxes.

    Raises `UsageError` for an unknown kind, at once.
    """
    check(kinds)
    return _over(tasks, kinds, seed)


def _over(tasks: Iterable[Task], kinds: Sequence[str], seed: int) -> Iterator[Task]:
    for i, task in enumerate(tasks):
        first_stays = random.Random(f"{seed}:{NONE}:{i // 2}").random() < 0.5
        stays = NONE in kinds and (i % 2 == 0) == first_stays
        yield task if stays else apply(task, kinds, seed)


def apply(task: Task, kinds: Sequence[str], seed: int) -> Task:
    """The task under these kinds of drift, one after the other."""
    check(kinds)
    for kind in kinds:
        if kind == NONE:
            continue
        past = task.env.get("drift", [])
        if any(entry["kind"] == kind for entry in past):
            raise UsageError(f"task {task.id} has {kind} drift already", "leave that drift out")
        drifted = KINDS[kind](task, random.Random(f"{seed}:{kind}:{task.id}"))
        if drifted is None:
            continue
        tools, how = drifted
        env = {**task.env, "drift": [*past, {"kind": kind, **how}]}
        if task.env["kind"] == "python":
            env.setdefault("schemas", task.tools)
        tags = {**task.tags, "drift": [*task.tags.get("drift", []), kind]}
        task = replace(task, tools=tools, env=env, tags=tags)
        task = replace(task, id=task_id(task))
    return task


def check(kinds: Sequence[str]) -> None:
    """Raises `UsageError` for a kind nobody knows."""
    for kind in kinds:
        if kind not in KINDS and kind != NONE:
            raise UsageError(f"no drift is named {kind!r}", did_you_mean(kind, [*KINDS, NONE]))


def documented(task: Task, tool: str, parameter: str) -> str:
    """What the documents of this task call a parameter."""
    for entry in task.env.get("drift", []):
        for shown, real in entry.get("renamed", {}).get(tool, {}).items():
            if real == parameter:
                return str(shown)
    return parameter


# ---- stale ---------------------------------------------------------------------------------------


def stale(task: Task, rng: random.Random) -> tuple[list[Json], Json] | None:
    """Old parameter names in the documents of some tools: of at least one that has parameters, and of at
    least one of the plan. None when no tool has any."""
    parameters = {tool["function"]["name"]: names for tool in task.tools if (names := _parameters(tool))}
    if not parameters:
        return None
    chosen = {name for name in parameters if rng.random() < SHARE}
    needed = [step["name"] for step in task.plan or [] if step["name"] in parameters] or list(parameters)
    if not chosen.intersection(needed):
        chosen.add(rng.choice(needed))
    renamed = {name: _rename(names, rng) for name, names in parameters.items() if name in chosen}
    tools = [
        _document(tool, {real: shown for shown, real in renamed[tool["function"]["name"]].items()})
        if tool["function"]["name"] in renamed
        else tool
        for tool in task.tools
    ]
    return tools, {"renamed": renamed}


def old_names(parameter: str) -> list[str]:
    """What a parameter may have been called in an older version, never its own name.

    >>> old_names("book_id"), old_names("title")
    (['book', 'id', 'book_no', 'bookId', 'bid'], ['name', 'book_title', 'heading', 'title_text', 'the_title'])
    """
    stem, _, last = parameter.rpartition("_")
    if stem and last == "id":
        derived = [stem, "id", f"{stem}_no", f"{stem}Id", f"{stem[0]}id"]
    elif stem:
        head, *rest = parameter.split("_")
        derived = [last, stem, head + "".join(word.capitalize() for word in rest)]
    else:
        derived = [f"{parameter}_text", f"the_{parameter}"]
    names = dict.fromkeys([*OLD.get(parameter, ()), *derived])
    return [name for name in names if name and name != parameter]


def _rename(parameters: list[str], rng: random.Random) -> dict[str, str]:
    """Shown name -> real name, of at least one parameter; no shown name is a real or another shown one."""
    chosen = [parameter for parameter in parameters if rng.random() < SHARE] or [rng.choice(parameters)]
    renamed: dict[str, str] = {}
    for parameter in chosen:
        free = [name for name in old_names(parameter) if name not in parameters and name not in renamed]
        shown = rng.choice(free) if free else f"old_{parameter}"
        while shown in parameters or shown in renamed:
            shown = f"old_{shown}"
        renamed[shown] = parameter
    return renamed


def _parameters(tool: Json) -> list[str]:
    schema = tool["function"].get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return list(properties) if isinstance(properties, dict) else []


def _document(tool: Json, shown: dict[str, str]) -> Json:
    """The tool's schema with these parameters under their old names, in the same places."""
    function = tool["function"]
    schema = dict(function["parameters"])
    schema["properties"] = {shown.get(name, name): value for name, value in schema["properties"].items()}
    if isinstance(schema.get("required"), list):
        schema["required"] = [shown.get(name, name) for name in schema["required"]]
    return {**tool, "function": {**function, "parameters": schema}}


Kind = Callable[[Task, random.Random], tuple[list[Json], Json] | None]
"""Task -> (documents to show, what was done), or None where there is nothing to make unfamiliar."""

KINDS: dict[str, Kind] = {"stale": stale}
