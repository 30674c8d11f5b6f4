"""Toolboxes: what they hold, where they are found, and what a plan's answer is."""

import inspect
import json
import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tmcli import templates, toolbox
from tmcli.environments.arguments import fault
from tmcli.errors import InputError, UsageError
from tmcli.protocol import CANNOT
from tmcli.records import Json

HERE = Path(toolbox.__file__).parent


@pytest.fixture(params=toolbox.names())
def box(request: pytest.FixtureRequest) -> toolbox.Toolbox:
    return toolbox.load(request.param)


def strings(value: object) -> set[str]:
    """All texts in a JSON value, keys left out."""
    if isinstance(value, dict):
        return set().union(*map(strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()


# ---- what they hold ------------------------------------------------------------------------------


def test_there_are_seen_and_unseen_ones() -> None:
    splits = [toolbox.load(name).split for name in toolbox.names()]
    assert set(splits) == set(toolbox.SPLITS)
    assert splits.count("seen") > splits.count("unseen") > 1


def test_functions_are_what_the_schemas_say(box: toolbox.Toolbox) -> None:
    assert 5 <= len(box.tools) <= 7
    for tool in box.tools:
        function = tool["function"]
        schema = function["parameters"]
        assert function["description"].startswith("Returns ")
        assert len(function["description"].split()) <= 14
        world, *parameters = inspect.signature(box._functions[function["name"]]).parameters.values()
        assert world.name == "world"
        assert [parameter.name for parameter in parameters] == list(schema["properties"])
        optional = [p.name for p in parameters if p.default is not inspect.Parameter.empty]
        assert schema["required"] == [p.name for p in parameters if p.name not in optional]
        assert 1 <= len(parameters) <= 4


def test_every_tool_has_a_class(box: toolbox.Toolbox) -> None:
    assert list(box.classes) == box.names
    assert set(box.classes.values()) <= set(toolbox.CLASSES)


def test_classes_come_again_in_other_toolboxes() -> None:
    said = [set(toolbox.load(name).classes.values()) for name in toolbox.names()]
    assert all("get" in classes for classes in said)
    assert all(classes & {"search", "list"} for classes in said)


def test_a_world_is_json_and_only_the_seed_tells_it(box: toolbox.Toolbox) -> None:
    assert box.world(7) == json.loads(json.dumps(box.world(7)))
    assert box.world(7) != box.world(8)


def test_same_worlds_in_another_process() -> None:
    program = (
        "import json; from tmcli import toolbox\n"
        "print(json.dumps([toolbox.load(name).world(seed) for name in toolbox.names() for seed in range(5)]))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert json.loads(said[0])[3] == toolbox.load(toolbox.names()[0]).world(3)


def test_tools_need_nothing_but_the_standard_library_and_worlds(box: toolbox.Toolbox) -> None:
    program = (
        "import sys, types; package = types.ModuleType('tmcli'); package.__path__ = []\n"
        "package.worlds = types.ModuleType('tmcli.worlds')\n"
        f"exec(open({str(HERE / 'worlds.py')!r}).read(), vars(package.worlds))\n"
        "sys.modules.update({'tmcli': package, 'tmcli.worlds': package.worlds})\n"
        "exec(sys.stdin.read()); print(len(make_world(3)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], input=box.source, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(len(box.world(3)))], done.stderr


CHANGING = {"book", "create", "update", "cancel"}
"""Classes of tools that may change the world."""


def test_tools_that_only_tell_leave_the_world_as_it_is(box: toolbox.Toolbox) -> None:
    rng = random.Random(1)
    world = box.world(5)
    before = json.dumps(world)
    for _ in range(30):
        task = templates.make(box, 5, rng)
        plan = [step for step in task.plan or [] if task.tags["possible"]]
        if CHANGING & {box.classes[step["name"]] for step in plan}:
            continue
        for reply in box.replies(world, plan).values():
            for value in reply.values():
                if isinstance(value, (list, dict)):
                    value.clear()
            reply.clear()  # what is done with a reply is no matter of the world
    assert json.dumps(world) == before


def test_the_same_calls_again_bring_the_same_answer(box: toolbox.Toolbox) -> None:
    """Who books in a trial and then once more must not be worse off."""
    rng = random.Random(2)
    for seed in range(60):
        task = templates.make(box, seed, rng)
        if task.tags["possible"]:
            world = box.world(seed)
            assert box.run(world, task.plan or []) == box.run(world, task.plan or [])


def test_nothing_found_is_an_error_with_a_message_or_an_empty_list(box: toolbox.Toolbox) -> None:
    world = box.world(0)
    for tool in box.names:
        schemas = box.schemas[tool]
        if not any(schema["type"] == "string" and "enum" not in schema for schema in schemas.values()):
            continue
        nowhere = {
            name: "2031-01-01"
            if schema.get("format") == "date"
            else schema["enum"][0]
            if "enum" in schema
            else "?"
            if schema["type"] == "string"
            else 3
            for name, schema in schemas.items()
        }
        assert fault(box.tools, tool, nowhere) is None
        error: Exception | None = None
        try:
            assert not any(box.call(world, tool, nowhere).values())
        except (LookupError, ValueError) as raised:
            error = raised
        assert error is None or (type(error) in (LookupError, ValueError) and str(error))


def test_no_date_is_an_error(box: toolbox.Toolbox) -> None:
    dated = [
        (tool, name)
        for tool in box.names
        for name, schema in box.schemas[tool].items()
        if schema.get("format") == "date"
    ]
    assert dated, "each toolbox has a tool that takes a date"
    for tool, name in dated:
        rest = {
            other: "?" if schema["type"] == "string" else 3 for other, schema in box.schemas[tool].items()
        }
        with pytest.raises((LookupError, ValueError)):
            box.call(box.world(0), tool, rest | {name: "31.12.2025"})


def test_worlds_of_two_toolboxes_share_no_names() -> None:
    said = {
        name: set().union(*(strings(toolbox.load(name).world(seed)) for seed in range(60)))
        for name in toolbox.names()
    }
    for a, b in combinations(said, 2):
        both = said[a] & said[b]
        assert not {word for word in both if word.isalpha() or " " in word}, (a, b)  # ids and dates may meet


# ---- where they are found ------------------------------------------------------------------------

PLAIN = '''"""Rates."""

def rate(currency: str) -> dict:
    """Rate of a currency.

    Args:
        currency: Its code.
    """
    return {"rate": len(currency)}
'''

WITH_WORLD = '''import random

def make_world(seed):
    return {"rate": random.Random(seed).random()}

def rate(world, currency: str) -> dict:
    """Rate of a currency."""
    return {"rate": world["rate"]}
'''


def test_a_folder_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = copied(tmp_path / "mine")
    box = toolbox.load(str(mine))
    assert (box.name, box.place, box.folder) == ("library", str(mine), mine)
    assert box.digest == toolbox.load("library").digest
    assert len(box.templates) == len(toolbox.load("library").templates)
    monkeypatch.chdir(tmp_path)
    assert toolbox.load("mine").place == "mine"


def test_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "rates.py").write_text(PLAIN)
    box = toolbox.load(str(tmp_path / "rates.py"))
    assert (box.name, box.split, box.names, box.templates) == ("rates", "own", ["rate"], [])
    assert box.world(1) is None
    assert box.call(None, "rate", {"currency": "eur"}) == {"rate": 3}


def test_a_plain_file_with_a_world(tmp_path: Path) -> None:
    (tmp_path / "rates.py").write_text(WITH_WORLD)
    box = toolbox.load(str(tmp_path / "rates.py"))
    assert box.schemas == {"rate": {"currency": {"type": "string"}}}
    assert box.call(box.world(1), "rate", {"currency": "eur"}) == box.world(1)


def test_unknown_names_are_answered_with_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no toolbox is named 'libary'; did you mean 'library'\?"):
        toolbox.load("libary")
    for wrong in ("../library", str(tmp_path), str(tmp_path / "none.py")):
        with pytest.raises(UsageError, match=r"there is no toolbox at .*; a toolbox is a folder with"):
            toolbox.load(wrong)


def copied(place: Path) -> Path:
    place.mkdir()
    for path in (toolbox.folder() / "library").glob("*.*"):
        (place / path.name).write_text(path.read_text())
    return place


@pytest.mark.parametrize(
    ("file", "text", "error"),
    [
        ("tools.py", "def make_world(seed:\n", r"tools\.py:1: .*never closed"),
        ("tools.py", "def make_world(seed):\n    return {}\n", r"tools\.py: find_book is not defined"),
        ("tools.py", "import nosuchmodule\n", r"tools\.py: ModuleNotFoundError: .*nosuchmodule"),
        ("tasks.py", "TEMPLATES = [\n  1,\n  )\n", r"tasks\.py:3: "),
        ("tasks.py", "TEMPLATE = []\n", r"tasks\.py: TEMPLATES is not defined"),
        ("tools.json", '{"name": "x",\n', r"tools\.json:2: "),
        ("tools.json", '{"name": "x"}', r"tools\.json lacks 'split'"),
    ],
)
def test_a_broken_toolbox_is_told_with_its_place(file: str, text: str, error: str, tmp_path: Path) -> None:
    broken = copied(tmp_path / "broken")
    (broken / file).write_text(text)
    with pytest.raises(InputError, match=error):
        templates.make(toolbox.load(str(broken)), 1, random.Random(1))


# ---- the tools of a task -------------------------------------------------------------------------


def names_in(env: Json) -> list[str]:
    return [tool["function"]["name"] for tool in toolbox.true_tools(env)]


def test_true_tools() -> None:
    own = toolbox.load("library").names
    env: Json = {"kind": "toolbox", "toolbox": "library", "seed": 1}
    assert names_in(env) == own
    assert names_in(env | {"distractors": ["flights.find_flight"]}) == [*own, "find_flight"]
    assert names_in(env | {"without": ["find_book"]}) == [name for name in own if name != "find_book"]
    with pytest.raises(
        UsageError, match="flights has no tool named 'find_fligt'; did you mean 'find_flight'"
    ):
        toolbox.true_tools(env | {"distractors": ["flights.find_fligt"]})


# ---- plans ---------------------------------------------------------------------------------------

REPLIES: list[Any] = [
    {"pages": 100, "due": "2025-03-01", "price_eur": 0.1, "ids": ["B1", "B2"]},
    {"pages": 250, "due": "2024-12-31", "price_eur": 0.2, "ids": ["B2", "B3"]},
]


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        ("pages", 250),
        ([0, "pages"], 100),
        ([0, "ids", 1], "B2"),
        ({"combine": "sum", "of": [[0, "pages"], [1, "pages"]]}, 350),
        ({"combine": "sum", "of": [[0, "price_eur"], [1, "price_eur"]]}, 0.3),
        ({"combine": "difference", "of": [[0, "pages"], [1, "pages"]]}, 150),
        ({"combine": "max", "of": [[0, "pages"], [1, "pages"]]}, 250),
        ({"combine": "min", "of": [[0, "due"], [1, "due"]]}, "2024-12-31"),
        ({"combine": "count", "of": [[0, "ids"]]}, 2),
        ({"combine": "set", "of": [[0, "ids"], [1, "ids"]]}, ["B1", "B2", "B3"]),
        ({"combine": "set", "of": [[0, "due"], [1, "due"]]}, ["2025-03-01", "2024-12-31"]),
        ({"combine": "argmax", "of": [[0, "pages"], [1, "pages"]], "names": ["Emma", "Ulysses"]}, "Ulysses"),
        ({"combine": "argmin", "of": [[0, "pages"], [1, "pages"]], "names": ["Emma", "Ulysses"]}, "Emma"),
        (None, CANNOT),
    ],
)
def test_gold(answer: Any, due: Any) -> None:
    plan: list[Json] = [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}, "answer": answer}]
    assert toolbox.gold(plan, dict(enumerate(REPLIES))) == due


def test_two_have_most() -> None:
    how = {"combine": "argmax", "of": [[0, "pages"], [0, "pages"]], "names": ["a", "b"]}
    with pytest.raises(ValueError, match="2 are equal: 100"):
        toolbox.gold([{"answer": how}], dict(enumerate(REPLIES)))


def test_nobody_knows_that_combination() -> None:
    with pytest.raises(ValueError, match="no answer is combined by 'median'"):
        toolbox.gold([{"answer": {"combine": "median", "of": [[0, "pages"]]}}], dict(enumerate(REPLIES)))


def test_references_are_resolved() -> None:
    arguments = {"a": {"$from": [0, "ids", 1]}, "b": 3, "c": {"$from": 1, "x": 2}}
    assert toolbox.resolve(arguments, dict(enumerate(REPLIES))) == {
        "a": "B2",
        "b": 3,
        "c": {"$from": 1, "x": 2},
    }
    with pytest.raises(KeyError):
        toolbox.resolve({"a": {"$from": [0, "nothing"]}}, dict(enumerate(REPLIES)))


def test_what_lies_beside_a_file_alone_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('def f(a: int) -> int:\n    """Same."""\n    return a\n')
    (tmp_path / "tasks.py").write_text("raise SystemExit('not mine')\n")
    assert toolbox.load(str(tmp_path / "mine.py")).templates == []
