"""Tools of toolboxes and of rows, called as an episode calls them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tmcli import drift, suites, toolbox
from tmcli.environments import Observation
from tmcli.environments.arguments import fault
from tmcli.environments.world import World
from tmcli.errors import InputError, UsageError
from tmcli.importers import ftrl
from tmcli.records import Json, Task, new_task
from tmcli.score import contains, correct

FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"
needs_ftrl = pytest.mark.skipif(not FTRL.exists(), reason="../shared/data/ftrl_dev.parquet is not there")

Calls = list[tuple[str, Json]]


def schema(name: str, properties: Json, required: list[str]) -> Json:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def task_in(env: Json) -> Task:
    return new_task(messages=[{"role": "user", "content": "?"}], tools=[], env=env, answer=[])


def seen_in(task: Task, calls: Calls) -> list[Observation]:
    """What the calls of one session bring."""

    async def run() -> list[Observation]:
        world = World()
        session = world.open(task)
        try:
            return [await session.call(name, arguments) for name, arguments in calls]
        finally:
            await session.close()
            await session.close()
            await world.close()
            await world.close()

    return asyncio.run(run())


# ---- arguments against the true schema ---------------------------------------------------------

TOOLS = [
    schema(
        "find",
        {
            "book_id": {"type": "string"},
            "sort": {"type": "string", "enum": ["asc", "desc"]},
            "n": {"type": "integer"},
            "share": {"type": "number"},
            "new": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "range": {"type": "object", "properties": {"start": {"type": "integer"}}},
            "either": {"type": ["number", "null"]},
            "any": {},
        },
        ["book_id"],
    ),
    schema("ping", {}, []),
    {"type": "function", "function": {"name": "bare"}},
]
LISTED = "book_id, sort, n, share, new, tags, range, either, any"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"book_id": "B1"}, None),
        (
            {
                "book_id": "B1",
                "n": 3,
                "share": 1,
                "new": True,
                "tags": ["a"],
                "range": {"start": 1, "x": "y"},
            },
            None,
        ),
        ({"book_id": "B1", "either": None, "any": {"x": [1]}, "sort": "asc", "share": 0.5}, None),
        ({"book": "B1"}, f"unknown parameter 'book'; parameters are: {LISTED}"),
        ({"n": "x"}, f"missing parameter 'book_id'; parameters are: {LISTED}"),
        ({"book_id": 1}, "book_id must be a string"),
        ({"book_id": None}, "book_id must be a string"),
        ({"book_id": "B1", "sort": "up"}, "sort must be one of: asc, desc"),
        ({"book_id": "B1", "n": 1.5}, "n must be an integer"),
        ({"book_id": "B1", "n": True}, "n must be an integer"),
        ({"book_id": "B1", "share": "1"}, "share must be a number"),
        ({"book_id": "B1", "share": False}, "share must be a number"),
        ({"book_id": "B1", "new": 1}, "new must be a boolean"),
        ({"book_id": "B1", "tags": "a"}, "tags must be an array"),
        ({"book_id": "B1", "tags": ["a", 1]}, "tags[1] must be a string"),
        ({"book_id": "B1", "range": []}, "range must be an object"),
        ({"book_id": "B1", "range": {"start": "a"}}, "range.start must be an integer"),
        ({"book_id": "B1", "either": "a"}, "either must be a number or null"),
    ],
)
def test_the_sentence_of_a_wrong_call(arguments: Json, sentence: str | None) -> None:
    assert fault(TOOLS, "find", arguments) == sentence


def test_tools_without_parameters() -> None:
    assert fault(TOOLS, "lost", {}) == "unknown tool 'lost'; tools are: find, ping, bare"
    assert fault(TOOLS, "ping", {}) is None
    assert fault(TOOLS, "ping", {"x": 1}) == "unknown parameter 'x'; parameters are: none"
    assert fault(TOOLS, "bare", {}) is None


@pytest.mark.parametrize(
    "parameters",
    [None, 3, {"properties": 3}, {"properties": {"x": 3}}, {"properties": {"x": {"type": {"a": 1}}}}],
)
def test_broken_schemas_constrain_nothing_they_do_not_say(parameters: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert fault(tools, "f", {"x": [1]}) in (None, "unknown parameter 'x'; parameters are: none")


# ---- the table of kinds ------------------------------------------------------------------------


def test_an_unknown_kind() -> None:
    with pytest.raises(UsageError, match="no environment is of kind 'pyhton'; did you mean 'python'"):
        World().open(task_in({"kind": "pyhton"}))


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"kind": "python"}, "env.codes: "),
        ({"kind": "python", "codes": {"f": 3}}, "env.codes: "),
        ({"kind": "toolbox", "toolbox": "library"}, "env: "),
        ({"kind": "toolbox", "toolbox": "library", "seed": "1"}, "env: "),
    ],
)
def test_a_broken_environment_is_the_records_fault(env: Json, error: str) -> None:
    with pytest.raises(InputError, match=error):
        World().open(task_in(env))


def test_a_toolbox_nobody_has() -> None:
    with pytest.raises(UsageError, match="no toolbox is named 'libary'; did you mean 'library'"):
        World().open(task_in({"kind": "toolbox", "toolbox": "libary", "seed": 1}))


def test_nothing_starts_before_the_first_call() -> None:
    async def run() -> None:
        world = World()
        session = world.open(task_in({"kind": "python", "codes": {"f": "def f(): return 1"}}))
        assert world.machinery.sandbox._zygote is None
        await session.call("nothing_of_this_name", {})
        assert world.machinery.sandbox._zygote is None
        await session.close()
        await world.close()

    asyncio.run(run())


# ---- toolboxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", suites.SUITES)
def test_gold_plans_bring_the_gold_answers(suite: str) -> None:
    async def answer(world: World, task: Task) -> str:
        session = world.open(task)
        results: dict[int, Any] = {}
        plan = task.plan or []
        for i, step in enumerate(plan):
            seen = await session.call(step["name"], toolbox.resolve(step["arguments"], results))
            assert seen.ok == (step.get("answer", "") is not None), seen.text
            results[i] = json.loads(seen.text)
        await session.close()
        return toolbox.text_of(toolbox.gold(plan, results))

    async def run() -> None:
        world = World()
        tasks = list(suites.suite(suite, 60))
        answers = await asyncio.gather(*(answer(world, task) for task in tasks))
        await world.close()
        for task, said in zip(tasks, answers, strict=True):
            assert correct(said, task.answer, task.check)

    asyncio.run(run())


def library(seed: int = 7) -> Task:
    return task_in({"kind": "toolbox", "toolbox": "library", "seed": seed})


def test_what_a_toolbox_answers() -> None:
    world = toolbox.load("library").world(7)
    book_id, book = next(iter(world["books"].items()))
    calls: Calls = [
        ("find_book", {"title": book["title"]}),
        ("find_book", {"title": "No Such Book"}),
        ("find_book", {"name": "x"}),
        ("find_book", {}),
        ("find_book", {"title": 3}),
        ("make_world", {"seed": 1}),
    ]
    names = ", ".join(tool["function"]["name"] for tool in toolbox.load("library").tools)
    texts = [(seen.ok, json.loads(seen.text)) for seen in seen_in(library(), calls)]
    assert texts[0] == (True, {"book_id": book_id})
    assert texts[1] == (False, {"error": "no book 'No Such Book'"})
    assert texts[2] == (False, {"error": "unknown parameter 'name'; parameters are: title"})
    assert texts[3] == (False, {"error": "missing parameter 'title'; parameters are: title"})
    assert texts[4] == (False, {"error": "title must be a string"})
    assert texts[5] == (False, {"error": f"unknown tool 'make_world'; tools are: {names}"})


def test_the_seed_makes_the_world() -> None:
    title = next(iter(toolbox.load("library").world(7)["books"].values()))["title"]
    one, two, other = (seen_in(library(s), [("find_book", {"title": title})])[0].text for s in (7, 7, 8))
    assert one == two != other


def test_stale_documents_meet_the_true_tool() -> None:
    task = next(iter(suites.suite("train", 1, drift=["stale"])))
    renamed = task.env["drift"][0]["renamed"]
    tool, names = next(iter(renamed.items()))
    shown, real = next(iter(names.items()))
    told = json.loads(seen_in(task, [(tool, {shown: "x"})])[0].text)["error"]
    assert told.startswith(f"unknown parameter {shown!r}; parameters are: ")
    assert real in told


# ---- Python of a row ---------------------------------------------------------------------------

CODES = {
    "add": "def plus(a, b): return a + b\ndef add(a, b=2): return plus(a, b)",
    "broken": "from not_there import x\n",
    "look": "def look(key): return {'a': 1}[key]",
}


def test_what_python_answers() -> None:
    calls: Calls = [
        ("add", {"a": 1}),
        ("add", {"a": "x"}),
        ("add", {"c": 1}),
        ("broken", {}),
        ("look", {"key": "b"}),
        ("lost", {}),
    ]
    seen = seen_in(task_in({"kind": "python", "codes": CODES}), calls)
    assert seen[0].text == "3"
    assert [json.loads(each.text)["error"] for each in seen[1:]] == [
        'TypeError: can only concatenate str (not "int") to str',
        "TypeError: add() got an unexpected keyword argument 'c'",
        "ModuleNotFoundError: No module named 'not_there'",
        "KeyError: 'b'",
        "unknown tool 'lost'; tools are: add, broken, look",
    ]
    assert [each.ok for each in seen] == [True] + [False] * 5


def test_schemas_of_a_drifted_row_are_held() -> None:
    tools = [schema("add", {"a": {"type": "integer"}, "b": {"type": "integer"}}, ["a"])]
    task = replace(task_in({"kind": "python", "codes": CODES}), tools=tools)
    drifted = drift.apply(task, ["stale"], 1)
    (shown, real), *_ = drifted.env["drift"][0]["renamed"]["add"].items()
    seen = seen_in(drifted, [("add", {"a": 1, "b": 3}), ("add", {shown: 1}), ("add", {"a": "x"})])
    assert seen[0].text == "4"
    assert json.loads(seen[1].text)["error"] == f"unknown parameter {shown!r}; parameters are: a, b"
    assert json.loads(seen[2].text)["error"] == "a must be an integer"
    assert real in ("a", "b")


@needs_ftrl
def test_every_ftrl_tool_loads() -> None:
    """Called without arguments, each answers or says what is missing, and none breaks the machinery."""

    async def run() -> int:
        world = World()
        n_tools = 0
        for task in ftrl.read(str(FTRL)):
            session = world.open(task)
            for tool in task.env["codes"]:
                seen = await session.call(tool, {})
                n_tools += 1
                if not seen.ok:
                    error = json.loads(seen.text)["error"]
                    assert "required" in error or "missing" in error.lower(), (task.source, tool, error)
            await session.close()
        await world.close()
        return n_tools

    assert asyncio.run(run()) == 929


@needs_ftrl
@pytest.mark.parametrize(
    ("row", "tool", "arguments"),
    [
        (
            1,
            "historical_event_finder",
            {"keywords": "WikiLeaks leak the standard US army protocol at Guantanamo Bay"},
        ),
        (
            51,
            "unified_specification_retriever",
            {"brand": "Apple", "model": "latest", "specification": "storage"},
        ),
        (76, "lake_shape_identifier", {"shape": "crescent"}),
        (
            76,
            "enhanced_calculator",
            {"operation": "add", "operands": [2432, 1471], "numeric_type": "integer"},
        ),
    ],
)
def test_gold_calls_of_ftrl(row: int, tool: str, arguments: Json) -> None:
    task = list(ftrl.read(str(FTRL)))[row - 1]
    (seen,) = seen_in(task, [(tool, arguments)])
    assert seen.ok
    assert contains(seen.text, (task.subgoals or {})[tool][0])
