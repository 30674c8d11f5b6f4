"""What a toolbox is: tools over a world drawn from a seed, so that an answer can only come from calling them.

    box = toolbox.load("library")             # a built-in one, a folder of your own, or a plain Python file
    world = box.world(7)
    box.call(world, "find_book", {"title": "Silent Harbor"})

A folder holds `tools.json` (name, split, about, classes, tools: OpenAI schemas), `tools.py`
(`make_world(seed)` and one function a tool, `find_book(world, title)`; standard library and `tmcli.worlds`
only, errors are LookupError or ValueError) and `tasks.py` (see `templates.py`). A function knows its world
and its arguments alone. It may change the world, but the same call again brings the same: who books in a
trial must not be worse off. Of a plain Python file the schemas are read off its functions, see
`signatures.py`; without a `make_world` they take no world. Here this code runs in our process, to make
tasks. The calls of an episode never do, see `environments/`.

A plan (`task.plan`) is the gold calls, by the true names of tools and parameters:
    {"name": "find_book", "arguments": {"title": "Emma"}},
    {"name": "book_info", "arguments": {"book_id": {"$from": [0, "book_id"]}}, "answer": "year"}
`$from` is a path: the index of an earlier call, then keys of its reply (a whole number is a place in a list).
The last call's `answer` says what the answer is, see `gold`. The hops of a task are the calls of its plan.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.protocol import CANNOT
from tmcli.records import Json, digest

SPLITS = ("seen", "unseen")
"""May training use a toolbox? One of your own that says nothing is `own`: in no suite but its own."""

CLASSES = (
    "search", "get", "list", "check", "convert", "compute", "book", "create", "update", "cancel",
    "compare", "rank",
)  # fmt: skip
"""What a tool may do: functions that come again in toolboxes of any domain."""


@dataclass(frozen=True)
class Toolbox:
    """One folder or file, read."""

    name: str
    split: str
    """`seen`, `unseen` or `own`."""
    about: str
    tools: list[Json]
    """The true schemas."""
    classes: dict[str, str]
    """Tool -> what it does, one of CLASSES; may lack some of your own."""
    source: str
    """The text of the functions, for the sandbox."""
    folder: Path
    file: Path
    """Where the functions are."""
    place: str
    """What finds it again: its name when it is built in, else its path as it was given."""

    @cached_property
    def schemas(self) -> Json:
        """Tool -> the schemas of its parameters."""
        functions = [tool["function"] for tool in self.tools]
        return {function["name"]: function["parameters"]["properties"] for function in functions}

    @cached_property
    def names(self) -> list[str]:
        """Its tools."""
        return [tool["function"]["name"] for tool in self.tools]

    @cached_property
    def digest(self) -> str:
        """Hash of what a model is shown and what runs."""
        return digest([self.tools, self.source])

    @property
    def tasks_file(self) -> Path:
        """Where the templates are: `tasks.py` of a folder, `NAME_tasks.py` beside a file `NAME.py`."""
        return self.folder / (f"{self.name}_tasks.py" if self.place.endswith(".py") else "tasks.py")

    @cached_property
    def templates(self) -> list[Json]:
        """What `tasks_file` holds; none without that file."""
        path = self.tasks_file
        if not path.is_file():
            return []
        templates: list[Json] = _run(path, "TEMPLATES")["TEMPLATES"]
        return templates

    def world(self, seed: int) -> Any:
        """The world of a seed, as JSON; None where there are functions alone."""
        make_world = self._functions.get("make_world")
        return make_world(seed) if make_world else None

    def call(self, world: Any, tool: str, arguments: Json) -> Any:
        """What a tool really replies. In our process: only to make tasks and to check them."""
        functions = self._functions
        return functions[tool](*((world,) if "make_world" in functions else ()), **arguments)

    def replies(self, world: Any, plan: Sequence[Json]) -> dict[int, Any]:
        """What each call of a plan replies."""
        results: dict[int, Any] = {}
        for i, step in enumerate(plan):
            results[i] = self.call(world, step["name"], resolve(step["arguments"], results))
        return results

    def run(self, world: Any, plan: Sequence[Json]) -> Any:
        """The gold answer of a plan."""
        return gold(plan, self.replies(world, plan))

    @cached_property
    def _functions(self) -> Json:
        return _run(self.file, *self.names)


# ---- loading -------------------------------------------------------------------------------------


def folder() -> Path:
    """Where the built-in toolboxes lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    for place in (here / "_toolspecs", here.parent / "toolspecs"):
        if place.is_dir():
            return place
    raise UsageError("the toolboxes that belong to tm are missing", "install tm again")


def names() -> list[str]:
    """The built-in toolboxes, sorted."""
    return sorted(path.parent.name for path in folder().glob("*/tools.json"))


@cache
def load(name: str) -> Toolbox:
    """A built-in toolbox by its name, one of your own by its folder or Python file.

    Raises `UsageError` when there is no such toolbox, `InputError` when its files are broken.
    """
    if name in names():
        return _folder(folder() / name, name)
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        from tmcli import signatures

        tools = signatures.tools_of(name)
        return Toolbox(path.stem, "own", "", tools, {}, _text(path), path.parent, path, name)
    if name and (path / "tools.json").is_file():
        return _folder(path, name)
    if is_path(name):
        remedy = "a toolbox is a folder with a tools.json, or a Python file"
        raise UsageError(f"there is no toolbox at {name}", remedy)
    raise UsageError(f"no toolbox is named {name!r}", did_you_mean(name, names()))


def is_path(name: str) -> bool:
    """Does this say where a toolbox is, not what it is called?"""
    return "/" in name or name.endswith(".py") or Path(name).exists()


def true_tools(env: Json) -> list[Json]:
    """The true schemas of all that a task's environment of kind `toolbox` offers: those of its toolbox, less
    what it is `without`, and the `distractors`, tools of other toolboxes. Raises as `load` does."""
    without = env.get("without", ())
    own = [tool for tool in load(env["toolbox"]).tools if tool["function"]["name"] not in without]
    return own + tools_named(env.get("distractors", ()))


def tools_named(names: Iterable[str]) -> list[Json]:
    """The true schemas of tools named `library.find_book`, each with its toolbox."""
    found: list[Json] = []
    for name in names:
        box, _, tool = name.rpartition(".")
        schemas = [schema for schema in load(box).tools if schema["function"]["name"] == tool]
        if not schemas:
            raise UsageError(f"{box} has no tool named {tool!r}", did_you_mean(tool, load(box).names))
        found += schemas
    return found


# ---- plans ---------------------------------------------------------------------------------------


def gold(plan: Sequence[Json], results: Mapping[int, Any]) -> Any:
    """The answer of a plan whose calls replied so. The last call's `answer` is

        "year"                        a key of its reply
        [0, "books", 1, "year"]       a path, as in `$from`
        {"combine": "sum", "of": [PATH, PATH]}
        None                          it cannot be done

    What combines values: `sum`, `difference` (never negative), `max`, `min`, `count` (of a list), `set` (all
    of them, lists flattened); with `names`, one a path, `argmax` and `argmin`: which one has most, or least.

    Raises ValueError when two have most, and as `value_at` does when a reply lacks something.
    """
    answer = plan[-1]["answer"]
    if answer is None:
        return CANNOT
    if isinstance(answer, str):
        return results[len(plan) - 1][answer]
    if isinstance(answer, dict):
        return _combined(answer, [value_at(path, results) for path in answer["of"]])
    return value_at(answer, results)


def paths(plan: Sequence[Json]) -> Iterator[Sequence[Any]]:
    """All that a plan takes from replies."""
    for step in plan:
        yield from (value["$from"] for value in step["arguments"].values() if is_reference(value))
    answer = plan[-1]["answer"]
    if isinstance(answer, dict):
        yield from answer["of"]
    elif answer is not None:
        yield [len(plan) - 1, answer] if isinstance(answer, str) else answer


def resolve(arguments: Json, results: Mapping[int, Any]) -> Json:
    """Arguments of a plan with every `$from` replaced; KeyError or IndexError where there is nothing."""
    return {
        name: value_at(value["$from"], results) if is_reference(value) else value
        for name, value in arguments.items()
    }


def value_at(path: Sequence[Any], results: Mapping[int, Any]) -> Any:
    """What lies at a path: the index of a call, then keys of its reply."""
    value = results[path[0]]
    for key in path[1:]:
        value = value[key]
    return value


def is_reference(value: Any) -> bool:
    """Is this argument of a plan what an earlier call replied?"""
    return isinstance(value, dict) and value.keys() == {"$from"}


def text_of(value: Any) -> str:
    """A reply's value as an answer is written; of a list, its members.

    >>> text_of("B12"), text_of(2.5), text_of(["B12", "B7"])
    ('B12', '2.5', 'B12, B7')
    """
    if isinstance(value, list):
        return ", ".join(map(text_of, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _combined(how: Json, values: list[Any]) -> Any:
    match how["combine"]:
        case "sum":
            return _tidy(sum(values))
        case "difference":
            return _tidy(abs(values[0] - values[1]))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "count":
            return sum(map(len, values))
        case "set":
            members = [item for value in values for item in (value if isinstance(value, list) else [value])]
            return list(dict.fromkeys(members))
        case "argmax" | "argmin" as most:
            best = max(values) if most == "argmax" else min(values)
            if values.count(best) > 1:
                raise ValueError(f"{values.count(best)} are equal: {best!r}")
            return how["names"][values.index(best)]
    raise ValueError(f"no answer is combined by {how['combine']!r}")


def _tidy(number: float) -> float:
    """Without what floats add to decimals: 0.1 + 0.2 is 0.3."""
    return round(number, 6)


# ---- files ---------------------------------------------------------------------------------------


def _folder(path: Path, place: str) -> Toolbox:
    try:
        spec = json.loads(_text(path / "tools.json"))
        return Toolbox(
            name=spec["name"],
            split=spec["split"],
            about=spec["about"],
            tools=spec["tools"],
            classes=spec.get("classes", {}),
            source=_text(path / "tools.py"),
            folder=path,
            file=path / "tools.py",
            place=place,
        )
    except json.JSONDecodeError as error:
        where = str(path / "tools.json")
        raise InputError(error.msg, "correct the file", source=where, line=error.lineno) from error
    except KeyError as error:
        raise InputError(f"{path.name}/tools.json lacks {error}", "add it", source=str(path)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "check the file", source=str(path)) from error


def _run(path: Path, *due: str) -> Json:
    """The names a file of a toolbox defines, among them those that are due."""
    module = types.ModuleType(f"{path.parent.name}_{path.stem}")
    sys.modules[module.__name__] = module  # dataclasses look for theirs there
    try:
        exec(compile(_text(path), str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102  ours, or the user's
    except SyntaxError as error:
        raise InputError(error.msg, "correct the toolbox", source=str(path), line=error.lineno) from error
    except Exception as error:  # whatever the code of its author raises
        problem = f"{type(error).__name__}: {error}"
        raise InputError(problem, "correct the toolbox", source=str(path)) from error
    for name in due:
        if name not in module.__dict__:
            raise InputError(f"{name} is not defined", "correct the toolbox", source=str(path))
    return module.__dict__
