"""Is it too near to what a model is to be tested on? By the words of the question, and by the tools.

    tests = TestSet.read(["unseen", "test.jsonl.zst"])
    check = check_query(12, tests)         # None, or which words of which test task
    check = check_tool("schema", tests)    # None, or which tool of which test task

A question shares a run of so many words with a test's, or holds the whole of a shorter one. A tool is known
again by what it is behind the drift, as far as the record tells: by its name, or by the parameters it takes,
whatever the descriptions and the order. Where they are few, one or none, the name must be the same too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson

from tmcli import io, suites, toolbox
from tmcli.drift import layers_of, true_tools
from tmcli.drift.layer import Layer, properties_of, renamed_properties, with_function
from tmcli.errors import TmError, UsageError, did_you_mean
from tmcli.filters.view import View
from tmcli.filters.words import words
from tmcli.records import AnyRecord, Json, Task, Trajectory, expect
from tmcli.score import task_in

Check = Callable[[View], str | None]
By = Literal["schema", "name", "both"]

LEAST_WORDS = 5
"""A shorter question of a test is no part of others: they must be the same."""
TELLING = 2
"""So many parameters tell a tool without its name."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """What tests ask, and with which tools. Texts only: it goes to workers."""

    __test__ = False  # for pytest

    tasks: list[str] = field(default_factory=list)
    """What each is called."""
    questions: dict[str, int] = field(default_factory=dict)
    """Words, with one space between -> the first task that asks so."""
    names: dict[str, int] = field(default_factory=dict)
    """Tool -> the first task that has it."""
    schemas: dict[bytes, int] = field(default_factory=dict)
    """Likewise, by `shape`."""

    @classmethod
    def read(cls, sources: list[str]) -> TestSet:
        """Of suites, toolboxes, and files of tasks or trajectories.

        Raises `UsageError` for a source that nobody knows, and for one that holds no task.
        """
        tests = cls()
        for source in sources:
            n = len(tests.tasks)
            for task in _tasks(source):
                tests._add(task, source)
            if len(tests.tasks) == n:
                raise UsageError(f"--decontaminate {source}: there is no task in it", "name another file")
        return tests

    def _add(self, task: Task, source: str) -> None:
        number = len(self.tasks)
        self.tasks.append(f"{task.id[:40]} of {source}")
        question = " ".join(words(_asked(task)))
        if question:
            self.questions.setdefault(question, number)
        for tool in behind(task, task.tools):
            self.names.setdefault(tool["function"]["name"], number)
            self.schemas.setdefault(shape(tool), number)


# ---- checks ----------------------------------------------------------------------------------------


def check_query(n: int, tests: TestSet) -> Check:
    """Does the question share a run of `n` words with a test's?"""
    if n < 1:
        raise UsageError(f"--rule contaminated_query={n}: no words in a row", "give how many, such as 12")
    runs: dict[str, int] = {}
    shorter: dict[int, dict[str, int]] = {}
    """Number of words -> questions of so many."""
    for question, task in tests.questions.items():
        said = question.split()
        if len(said) < n:
            shorter.setdefault(len(said), {})[question] = task
        for run in _runs(said, n):
            runs.setdefault(run, task)

    def check(view: View) -> str | None:
        said = words(view.question)
        shared = [run for run in _runs(said, n) if run in runs]
        if shared:
            task = tests.tasks[runs[shared[0]]]
            return f"{n} words in a row of test task {task} (hits: {len(shared)}): {shared[0][:200]!r}"
        for length, questions in shorter.items():
            if length == len(said) or length >= LEAST_WORDS:
                whole = next((run for run in _runs(said, length) if run in questions), None)
                if whole is not None:
                    return f"all {length} words of test task {tests.tasks[questions[whole]]}: {whole[:200]!r}"
        return None

    return check


def check_tool(by: By, tests: TestSet) -> Check:
    """Is one of the tools a test's?"""

    def check(view: View) -> str | None:
        for tool in behind(view.task, view.tools):
            name = tool["function"]["name"]
            if by != "schema" and (task := tests.names.get(name)) is not None:
                return f"{name[:100]} has the name of a tool of test task {tests.tasks[task]}"
            if by != "name" and (task := tests.schemas.get(shape(tool))) is not None:
                return f"{name[:100]} takes the parameters of a tool of test task {tests.tasks[task]}"
        return None

    return check


def _runs(said: list[str], n: int) -> Iterator[str]:
    return (" ".join(said[i : i + n]) for i in range(len(said) - n + 1))


# ---- tools -----------------------------------------------------------------------------------------


def behind(task: Any, shown: list[Json]) -> list[Json]:
    """The tools that a task shows, as they are behind its drift. Nothing is run for it: of toolboxes that do
    not belong to tm, names are led back, and what else their documents changed is not known."""
    if not task.env.get("drift"):
        return shown
    try:
        layers = layers_of(task)
        if "schemas" in task.env or _is_ours(task.env):
            return [tool for tool in true_tools(task) if isinstance(tool["function"]["name"], str)]
    except (TmError, AttributeError, KeyError, TypeError):  # an `env` that we did not write
        return shown
    return [_led_back(tool, layers) for tool in shown]


def _is_ours(env: Json) -> bool:
    """Are all its tools of toolboxes that come with tm?"""
    others = (name.rpartition(".")[0] for name in env.get("distractors", ()))
    return env.get("kind") == "toolbox" and all(box in _ours() for box in (env["toolbox"], *others))


@cache
def _ours() -> frozenset[str]:
    return frozenset(toolbox.names())


def _led_back(tool: Json, layers: list[Layer]) -> Json:
    """The tool under the names it had."""
    name = tool["function"]["name"]
    before = {key: key for key in properties_of(tool)}
    for layer in reversed(layers):
        before = {key: layer.before(name, old)[1] for key, old in before.items()}
        name = layer.before(name, "")[0]
    return with_function(renamed_properties(tool, before), name=name)


def shape(tool: Json) -> bytes:
    """What a tool takes: equal for tools that take the same, in 16 bytes. The name counts only where there is
    little to tell it by."""
    name, parameters = tool["function"]["name"], tool["function"].get("parameters")
    try:
        return _shape(orjson.dumps([name, parameters]))
    except TypeError:  # nested deeper than is ever written: orjson goes 254 levels down
        return _shape(orjson.dumps([name, None]))


@lru_cache(maxsize=4096)
def _shape(dumped: bytes) -> bytes:
    name, parameters = orjson.loads(dumped)
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    telling = isinstance(properties, dict) and len(properties) >= TELLING
    what = orjson.dumps([None if telling else name, _bare(parameters)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(what, digest_size=16).digest()


_SAID = {"description", "title", "default", "examples", "example", "deprecated", "additionalProperties"}
"""What a schema says beside what it takes; not every writer of schemas says it."""
_UNORDERED = {"required", "enum", "type"}


def _bare(schema: Any) -> Any:
    """A schema without descriptions and order."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare: Json = {}
    for key, value in schema.items():
        if key in _SAID or value in ([], None):
            continue
        if key == "properties" and isinstance(value, dict):
            bare[key] = {name: _bare(item) for name, item in value.items()}
        elif key in _UNORDERED and isinstance(value, list):
            bare[key] = sorted(value, key=orjson.dumps)
        else:
            bare[key] = _bare(value)
    return bare


# ---- sources ---------------------------------------------------------------------------------------


def _tasks(source: str) -> Iterable[Task]:
    """The tasks of a suite or toolbox, by name; else of a file."""
    if not source:
        raise UsageError("--decontaminate names no tasks", "name a suite, a toolbox or a file")
    if source in (*suites.SUITES, *toolbox.names()) or source.endswith(".py") or Path(source).is_dir():
        return suites.suite(source)
    if source != "-" and not Path(source).exists():
        known = did_you_mean(source, [*suites.SUITES, *toolbox.names()])
        raise UsageError(f"--decontaminate: no suite, no toolbox and no file is named {source!r}", known)
    return (_task(record) for record in io.read(source))


def _task(record: AnyRecord) -> Task:
    return task_in(record) if isinstance(record, Trajectory) else expect(record, Task)


def _asked(task: Task) -> str:
    return "\n".join(message.get("content") or "" for message in task.messages if message["role"] == "user")
