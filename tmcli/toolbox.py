"""The built-in toolboxes, and suites of tasks over them.

    box = toolbox.load("library")                   # schemas, and the source a sandbox runs
    for task in toolbox.suite("train", n=200): ...  # train | seen | unseen

A toolbox is a folder of `toolspecs/`: `tools.json` (name, split, about, tools: OpenAI schemas), `tools.py`
(`make_world(seed)` and one function a tool, `find_book(world, title)`, pure over the world; standard library
only, errors are LookupError or ValueError) and `tasks.py` (TEMPLATES). Here its code runs in our process, to
make tasks: it is ours and shipped. The calls of an episode never run here, see `environments/`.

A template is a dict: `given` {slot: table of the world, one random row of which is given}, `ask` (wordings),
`plan` [(tool, arguments)], `answer` (a key of the last reply). Texts are filled in as `{book[title]}`, and
`{book[id]}` is the row's key; a tuple `(0, "book_id")` stands for what call 0 replied under that key.

A plan (`task.plan`) is the gold calls, by the true names of tools and parameters:
    {"name": "find_book", "arguments": {"title": "Emma"}},
    {"name": "book_info", "arguments": {"book_id": {"$from": [0, "book_id"]}}, "answer": "year"}
`$from` is a path: the index of an earlier call, then keys of its reply. The last call's `answer` is the key
under which its reply holds the answer. The hops of a task are the calls of its plan.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tmcli import drift as drifts
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Json, Task, digest, new_task

SUITES = ("train", "seen", "unseen")
"""`train`, and held out from it: `seen` (the same toolboxes, other worlds), `unseen` (other toolboxes)."""

DEFAULT_N = {"train": 200, "seen": 100, "unseen": 100}
HOPS = {1: 0.2, 2: 0.6, 3: 0.2}
"""How often a task takes so many calls."""

HELD_OUT = 1 << 31
"""World seeds from here on are never used for training."""


@dataclass(frozen=True)
class Toolbox:
    """One folder of `toolspecs/`, read."""

    name: str
    split: str
    """`seen` or `unseen`: may training use it?"""
    about: str
    tools: list[Json]
    """The true schemas."""
    source: str
    """The text of `tools.py`, for the sandbox."""
    folder: Path

    def world(self, seed: int) -> Json:
        """The world of a seed, as JSON."""
        world: Json = self._functions["make_world"](seed)
        return world

    def run(self, world: Json, plan: list[Json]) -> Any:
        """What the plan really answers. In our process: only for gold answers of our own templates."""
        results: dict[int, Any] = {}
        for i, step in enumerate(plan):
            results[i] = self._functions[step["name"]](world, **resolve(step["arguments"], results))
        return results[len(plan) - 1][plan[-1]["answer"]]

    def task(self, world_seed: int, rng: random.Random) -> Task:
        """A task over the world of this seed; `rng` picks template, rows and wording."""
        world = self.world(world_seed)
        hops = sorted({len(template["plan"]) for template in self._templates})
        due = rng.choices(hops, [HOPS[n] for n in hops])[0]
        template = rng.choice([template for template in self._templates if len(template["plan"]) == due])
        given: Json = {}
        for slot, table in template["given"].items():
            key = rng.choice(list(world[table]))
            given[slot] = {**world[table][key], "id": key}
        plan: list[Json] = [
            {"name": tool, "arguments": {name: _fill(value, given) for name, value in arguments.items()}}
            for tool, arguments in template["plan"]
        ]
        plan[-1]["answer"] = template["answer"]
        answer = self.run(world, plan)
        return new_task(
            messages=[{"role": "user", "content": rng.choice(template["ask"]).format(**given)}],
            tools=rng.sample(self.tools, len(self.tools)),  # the order tells nothing of the plan
            env={"kind": "toolbox", "toolbox": self.name, "seed": world_seed},
            answer=[text_of(answer)],
            check="exact" if isinstance(answer, str) else "number",
            plan=plan,
            tags={"toolbox": self.name, "split": self.split, "hops": due, "drift": []},
        )

    @cached_property
    def _functions(self) -> Json:
        tools = [tool["function"]["name"] for tool in self.tools]
        return _run(self.folder / "tools.py", "make_world", *tools)

    @cached_property
    def _templates(self) -> list[Json]:
        templates: list[Json] = _run(self.folder / "tasks.py", "TEMPLATES")["TEMPLATES"]
        return templates


def folder() -> Path:
    """Where the toolboxes lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    for place in (here / "_toolspecs", here.parent / "toolspecs"):
        if place.is_dir():
            return place
    raise UsageError("the toolboxes that belong to tm are missing", "install tm again")


def names() -> list[str]:
    """All toolboxes, sorted."""
    return sorted(path.parent.name for path in folder().glob("*/tools.json"))


@cache
def load(name: str) -> Toolbox:
    """Raises `UsageError` when there is no such toolbox, `InputError` when its files are broken."""
    if name not in names():
        raise UsageError(f"no toolbox is named {name!r}", did_you_mean(name, names()))
    place = folder() / name
    try:
        spec = json.loads(_text(place / "tools.json"))
        return Toolbox(name, spec["split"], spec["about"], spec["tools"], _text(place / "tools.py"), place)
    except json.JSONDecodeError as error:
        where = str(place / "tools.json")
        raise InputError(error.msg, "correct the file", source=where, line=error.lineno) from error
    except KeyError as error:
        raise InputError(f"{name}/tools.json lacks {error}", "add it", source=str(place)) from error


def suite(name: str, n: int | None = None, seed: int = 0, drift: Sequence[str] = ()) -> Iterator[Task]:
    """The first `n` tasks of a built-in suite. Task i is the same whatever `n`; toolboxes take turns.

    Raises `UsageError` for a suite or drift nobody knows.
    """
    if name not in SUITES:
        raise UsageError(f"no suite is named {name!r}", did_you_mean(name, SUITES))
    split = "unseen" if name == "unseen" else "seen"
    boxes = [box for box in map(load, names()) if box.split == split]
    first = int(digest([name, seed]), 16) % (1 << 30) + (0 if name == "train" else HELD_OUT)

    def task(i: int) -> Task:
        made = boxes[i % len(boxes)].task(first + i, random.Random(f"{name}:{seed}:{i}"))
        return replace(made, source=f"suite:{name}:{seed}:{i}")

    return drifts.over(map(task, range(DEFAULT_N[name] if n is None else n)), drift, seed)


def resolve(arguments: Json, results: dict[int, Any]) -> Json:
    """Arguments of a plan with every `$from` replaced; KeyError or IndexError where there is nothing."""
    resolved: Json = {}
    for name, value in arguments.items():
        if is_reference(value):
            step, *keys = value["$from"]
            value = results[step]
            for key in keys:
                value = value[key]
        resolved[name] = value
    return resolved


def is_reference(value: Any) -> bool:
    """Is this argument of a plan what an earlier call replied?"""
    return isinstance(value, dict) and value.keys() == {"$from"}


def text_of(value: Any) -> str:
    """A reply's value as an answer is written."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fill(value: Any, given: Json) -> Any:
    if isinstance(value, tuple):
        return {"$from": list(value)}
    return value.format(**given)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "install tm again", source=str(path)) from error


def _run(path: Path, *due: str) -> Json:
    """The names a file of a toolbox defines, among them those that are due."""
    module: Json = {"__name__": f"{path.parent.name}_{path.stem}"}
    try:
        exec(compile(_text(path), str(path), "exec", dont_inherit=True), module)  # noqa: S102  shipped with tm
    except SyntaxError as error:
        raise InputError(error.msg, "correct the toolbox", source=str(path), line=error.lineno) from error
    for name in due:
        if name not in module:
            raise InputError(f"{name} is not defined", "correct the toolbox", source=str(path))
    return module
