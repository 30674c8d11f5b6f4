"""BFCL's JSON lines as tasks: rows of its shape, and all of the package's where it is installed."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Tm
from servers import ModelServer, call, say, text
from shell import pipe, records

from tmcli.errors import InputError, UsageError
from tmcli.importers import bfcl
from tmcli.records import Json, Task, task_id

needs_bfcl = pytest.mark.skipif(
    find_spec("bfcl_eval") is None, reason="the package bfcl-eval is not installed (pip install --no-deps)"
)

ROW: Json = {
    "id": "simple_python_0",
    "question": [[{"role": "user", "content": "How large is a circle of radius 5?"}]],
    "function": [
        {
            "name": "circle.area",
            "description": "Compute the area of a circle.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "radius": {"type": "float", "description": "The radius."},
                    "unit": {"type": "string", "enum": ["cm", "m"], "default": "m"},
                },
                "required": ["radius"],
            },
        }
    ],
}
GOLD: Json = {
    "id": "simple_python_0",
    "ground_truth": [{"circle.area": {"radius": [5.0], "unit": ["", "m"]}}],
}


def write(path: Path, *rows: Any) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))  # the real ones end without a newline
    return str(path)


def imported(folder: Path, row: Json) -> Task:
    (task,) = bfcl.read(write(folder / "BFCL_v4_x.json", row))
    return task


def with_properties(properties: Json, category: str = "simple_python", required: Any = ()) -> Json:
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    function = {"name": "f", "description": "Does it.", "parameters": parameters}
    return {**ROW, "id": f"{category}_7", "function": [function]}


def shown(folder: Path, row: Json) -> Json:
    function: Json = imported(folder, row).tools[0]["function"]
    jsonschema.Draft202012Validator.check_schema(function["parameters"])
    return function


def test_a_row_becomes_a_task(tmp_path: Path) -> None:
    write(tmp_path / "possible_answer" / "BFCL_v4_simple_python.json", {**GOLD, "id": "other"}, GOLD)
    (task,) = bfcl.read(write(tmp_path / "BFCL_v4_simple_python.json", ROW))
    area = {
        "name": "circle_area",
        "description": "Compute the area of a circle.",
        "parameters": {
            "type": "object",
            "properties": {
                "radius": {"type": "number", "description": "The radius."},
                "unit": {"type": "string", "default": "m", "enum": ["cm", "m"]},
            },
            "required": ["radius"],
        },
    }
    assert task == Task(
        id=task_id(task),
        messages=ROW["question"][0],
        tools=[{"type": "function", "function": area}],
        env={"kind": "simulate"},
        answer=[],
        check="judge",
        tags={"dataset": "bfcl", "category": "simple_python", "drift": []},
        source="bfcl:simple_python_0",
        extra={
            "ground_truth": GOLD["ground_truth"],
            "takes": {
                "circle.area": {"required": ["radius"], "types": {"radius": "float", "unit": "string"}}
            },
            "names": {"circle_area": "circle.area"},
        },
    )


def test_golds_are_optional_and_empty_where_no_call_is_right(tmp_path: Path) -> None:
    plain = {**ROW, "function": [{**ROW["function"][0], "name": "area"}]}
    assert imported(tmp_path, plain).extra == {}
    assert imported(tmp_path, {**plain, "id": "live_irrelevance_1-2-3"}).extra == {"ground_truth": []}
    assert imported(tmp_path, {**plain, "id": "live_relevance_1-2-3"}).extra == {}


def test_types_become_json_schema(tmp_path: Path) -> None:
    kinds = {
        "dict": "object",
        "HashMap": "object",
        "tuple": "array",
        "ArrayList": "array",
        "float": "number",
        "double": "number",
        "long": "integer",
        "String": "string",
        "Boolean": "boolean",
        "any": None,
        "": None,
        "Widget": None,
    }
    function = shown(tmp_path, with_properties({f"p{i}": {"type": kind} for i, kind in enumerate(kinds)}))
    properties = function["parameters"]["properties"]
    assert [schema.get("type") for schema in properties.values()] == list(kinds.values())


def test_schemas_inside_schemas(tmp_path: Path) -> None:
    inner = {"type": "dict", "properties": {"type": {"type": "float"}, "required": {"type": "any"}}}
    properties = {
        "grid": {"type": "tuple", "items": {"type": "array", "items": {"type": "float"}}},
        "rows": {"type": "array", "items": {**inner, "required": ["type", "type", 3]}},
        "map": {"type": "dict", "additionalProperties": {"type": "float"}, "required": True},
        "broken": "string",
        "sort": {"type": "array", "items": {"type": "String"}, "enum": ["up", "down"]},
        "unit": {"type": "string", "enum": ["s"], "default": "N/A"},
        "none": {"type": "string", "enum": ["s"], "default": None},
    }
    parameters = shown(tmp_path, with_properties(properties, required=["grid"]))["parameters"]
    assert parameters["properties"] == {
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"type": "number"}, "required": {}},
                "required": ["type"],
            },
        },
        "map": {"type": "object", "additionalProperties": {"type": "number"}},
        "sort": {"type": "array", "items": {"type": "string", "enum": ["up", "down"]}},
        "unit": {"type": "string", "enum": ["s", "N/A"], "default": "N/A"},
        "none": {"type": "string", "enum": ["s"], "default": None},
    }


def test_java_and_javascript_write_their_values_as_text(tmp_path: Path) -> None:
    properties = {
        "any": {"type": "any", "description": "It."},
        "list": {"type": "ArrayList", "description": "Them.", "items": {"type": "long"}},
        "map": {"type": "dict", "properties": {"a": {"type": "String"}}, "default": "{}"},
    }
    function = shown(tmp_path, with_properties(properties, "simple_java"))
    assert function["description"] == "Does it. Note that the provided function is in Java 8 SDK syntax."
    got = function["parameters"]["properties"]
    assert {schema["type"] for schema in got.values()} == {"string"}
    assert got["any"]["description"].startswith("It. This parameter can be of any type of Java object")
    assert "Java ArrayList type parameter in string representation" in got["list"]["description"]
    assert "elements are of type long" in got["list"]["description"]
    assert got["map"]["default"] == "{}"
    assert '{"a":{"type":"String"}}' in got["map"]["description"]
    function = shown(tmp_path, with_properties(properties, "simple_javascript"))
    assert function["description"].endswith("is in JavaScript syntax.")


def test_names_no_api_takes(tmp_path: Path) -> None:
    names = ["a.b.c", "plain", "größe", "x" * 70]
    functions = [{**ROW["function"][0], "name": name} for name in names]
    task = imported(tmp_path, {**ROW, "function": functions})
    assert [tool["function"]["name"] for tool in task.tools] == ["a_b_c", "plain", "gr__e", "x" * 64]
    assert task.extra["names"] == {"a_b_c": "a.b.c", "gr__e": "größe", "x" * 64: "x" * 70}
    twice = [{**ROW["function"][0], "name": name} for name in ("a.b", "a_b")]
    with pytest.raises(InputError, match=r"BFCL_v4_x\.json:1: function: two functions of one name"):
        imported(tmp_path, {**ROW, "function": twice})


def test_system_turns_go_to_the_head_of_the_question(tmp_path: Path) -> None:
    turn = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "How large?"},
    ]
    assert imported(tmp_path, {**ROW, "question": [turn]}).messages == [
        {"role": "user", "content": "Be short.\n\nHi."},
        *turn[2:],
    ]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"question": []}, "BFCL_v4_x.json:2: question: not one question"),
        ({"question": [[]]}, "BFCL_v4_x.json:2: question: not one question"),
        ({"question": [[3]]}, r"BFCL_v4_x.json:2: messages\[0\]"),
        ({"question": [[{"role": "system"}, 3]]}, r"BFCL_v4_x.json:2: messages\[0\]"),
        ({"function": {}}, "BFCL_v4_x.json:2: function: not an array"),
        ({"function": [3]}, r"BFCL_v4_x.json:2: function\[0\]: a function without a name"),
        ({"function": [{"name": "f"}]}, r"BFCL_v4_x.json:2: function\[0\].parameters: no object"),
        ({"id": None}, "BFCL_v4_x.json:2: no row of the leaderboard"),
    ],
)
def test_a_broken_row_has_its_place(change: Json, wrong: str, tmp_path: Path) -> None:
    tasks = bfcl.read(write(tmp_path / "BFCL_v4_x.json", ROW, {**ROW, **change}))
    assert next(tasks).source == "bfcl:simple_python_0"
    with pytest.raises(InputError, match=wrong):
        next(tasks)


def test_what_is_no_task_of_one_question(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "Go."}], [{"role": "user", "content": "On."}]]
    many = {"id": "multi_turn_base_0", "question": turns, "involved_classes": ["Files"]}
    with pytest.raises(UsageError, match="multi_turn_base_0 is no task of one question with its own tools"):
        imported(tmp_path, many)
    with pytest.raises(UsageError, match="memory_0-customer-0 is no task of one question"):
        imported(tmp_path, {"id": "memory_0-customer-0", "question": turns[:1], "scenario": "customer"})
    (tmp_path / "BFCL_v4_format_sensitivity.json").write_text('{\n  "simple_python": ["simple_python_58"]\n}')
    with pytest.raises(InputError, match=r"BFCL_v4_format_sensitivity\.json:1: not JSON"):
        list(bfcl.read(str(tmp_path / "BFCL_v4_format_sensitivity.json")))


def test_as_a_user_imports_it(tm: Tm, tmp_path: Path) -> None:
    write(tmp_path / "possible_answer" / "BFCL_v4_simple_python.json", GOLD)
    path = write(tmp_path / "BFCL_v4_simple_python.json", ROW, {**ROW, "id": "simple_python_1"})
    got = tm("tasks", "--from", "bfcl", "BFCL_v4_simple_python.json")
    assert got.returncode == 0, got.stderr
    first, second = records(got.stdout)
    assert first["ground_truth"] == GOLD["ground_truth"]
    assert "ground_truth" not in second
    piped = tm("tasks", "--from", "bfcl", "-", "-n", "1", input=Path(path).read_bytes())
    assert records(piped.stdout)[0]["names"] == {"circle_area": "circle.area"}
    again = tm("tasks", "-", "--to", "parquet", input=got.stdout).stdout
    assert tm("tasks", "-", input=again).stdout == got.stdout  # keys tm does not know pass through


def test_imported_and_played_in_a_pipe(tmp_path: Path) -> None:
    """Calls are held to the schemas and acknowledged; what was right nobody here can say."""
    write(tmp_path / "BFCL_v4_simple_python.json", ROW)
    asked = ("circle_area", '{"radius": 5}', "circle_area", '{"radius": "5"}', "circle.area", "{}")
    with ModelServer(say(call(*asked), text("<answer>done</answer>"))) as server:
        line = (
            f"tm tasks --from bfcl BFCL_v4_simple_python.json | tm rollout --tasks - --policy m@{server.url}"
        )
        got = pipe(line, tmp_path, {})
    assert got.returncode == 0, got.stderr
    (made,) = records(got.stdout)
    assert [made_call["ok"] for made_call in made["turns"][0]["calls"]] == [True, False, False]
    assert "radius must be a number" in made["messages"][4]["content"]
    assert made["reward"] is None


@pytest.mark.skipif(find_spec("bfcl_eval") is not None, reason="the package is installed")
def test_without_the_package_the_way_to_it_is_told(tm: Tm) -> None:
    got = tm("tasks", "--from", "bfcl")
    assert got.returncode == 2
    assert b"bfcl-eval is not installed; pip install --no-deps bfcl-eval, or name a file" in got.stderr


@needs_bfcl
def test_every_row_of_the_package(tm: Tm) -> None:
    got = tm("tasks", "--from", "bfcl")
    assert got.returncode == 0, got.stderr
    tasks = records(got.stdout)
    counts = Counter(task["tags"]["category"] for task in tasks)
    assert set(counts) == set(bfcl.SINGLE_TURN)
    assert len({task["source"] for task in tasks}) == len(tasks) > 3000
    schemas = {json.dumps(tool["function"]["parameters"]) for task in tasks for tool in task["tools"]}
    metaschema = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    assert [schema for schema in schemas if not metaschema.is_valid(json.loads(schema))] == []
    for task in tasks:
        own = {task.get("names", {}).get(t["function"]["name"], t["function"]["name"]) for t in task["tools"]}
        accepted = task.get("ground_truth")
        assert accepted is not None or task["tags"]["category"] == "live_relevance"
        assert {name for call in accepted or [] for name in call} <= own


@needs_bfcl
@pytest.mark.parametrize("category", ["multi_turn_base", "memory", "web_search"])
def test_other_categories_of_the_package(category: str) -> None:
    (path,) = Path(bfcl.installed()[0]).parent.glob(f"BFCL_v*_{category}.json")
    with pytest.raises(UsageError, match="is no task of one question"):
        list(bfcl.read(str(path)))
