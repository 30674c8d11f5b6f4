"""The Berkeley function-calling leaderboard (BFCL), as the PyPI package `bfcl-eval` brings it: JSON lines.

    {"id": "simple_python_0", "question": [[{"role": "user", "content": ...}]], "function": [
        {"name": ..., "description": ..., "parameters": {"type": "dict", "properties": {...}}}]}

Read are the categories of one question with its own tools: simple, multiple, parallel, parallel_multiple,
irrelevance, relevance, and their live_ forms. Nothing is run (`{"kind": "simulate"}`): calls are held to
the schemas. The accepted calls, from `possible_answer/` beside the file, are the record's `ground_truth`,
under the functions' own names; it is empty where no call is right (irrelevance). The record's `takes` says
what the functions that they name require, and the types of their parameters as they stand in the file: the
leaderboard's AST match (`score/benchmarks/bfcl.py`) goes by these.

Schemas become JSON Schema as in the leaderboard's own code: `dict` is an object, `float` a number, `tuple` an
array, and a parameter of a Java or JavaScript function a string that holds the value as that language writes
it. Unlike there, `any` is anything and not a string, the enum of an array is that of its items, and an enum
has room for the default. Names that no model API takes (`math.factorial`) get `_` for what is not allowed,
and the record's `names` says {shown: its own}. A system turn is put at the head of the question, since the
first system turn is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.errors import InputError, UsageError
from tmcli.records import Json, Task, from_json, new_task, to_json

SINGLE_TURN = (
    *("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple"),
    *("irrelevance", "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
    *("live_irrelevance", "live_relevance"),
)
"""The categories that can be read, in the leaderboard's order."""

GET = "pip install --no-deps bfcl-eval, or name a file of its folder data"
LANGUAGES = {"simple_java": "Java", "simple_javascript": "JavaScript"}
SYNTAX = {"Java": "Java 8 SDK", "JavaScript": "JavaScript"}
_TYPES = {
    **dict.fromkeys(("dict", "object", "HashMap", "Hashtable"), "object"),
    **dict.fromkeys(("array", "list", "tuple", "Array", "ArrayList", "Queue", "Stack", "Set"), "array"),
    **dict.fromkeys(("string", "String", "char"), "string"),
    **dict.fromkeys(("integer", "byte", "short", "long", "Bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool", "Boolean"), "boolean"),
    "null": "null",
}
"""Its types as JSON Schema's; any other constrains nothing."""


def installed() -> list[str]:
    """The files of the installed package. Raises `UsageError` saying how to get it."""
    found = find_spec("bfcl_eval")
    if found is None or found.origin is None:
        raise UsageError("the package bfcl-eval is not installed", GET)
    data = Path(found.origin).with_name("data")
    named = {re.sub(r"\ABFCL_v\d+_", "", path.stem): str(path) for path in sorted(data.glob("BFCL_v*.json"))}
    paths = [named[category] for category in SINGLE_TURN if category in named]
    if not paths:
        raise UsageError(f"the package bfcl-eval has no data that can be read in {data}", GET)
    return paths


def read(path: str) -> Iterator[Task]:
    """The tasks of a file, or of stdin (`-`)."""
    source = streams.open_source(path)

    def tasks() -> Iterator[Task]:
        try:
            accepted = _accepted(Path(path))
            for number, line in enumerate(streams.lines(source), 1):
                if not line.strip():
                    continue
                try:
                    yield _task(_row(line), accepted)
                except InputError as error:
                    raise error.at(source.name, number) from error
        finally:
            source.close()

    return tasks()


def _accepted(path: Path) -> dict[str, Any]:
    """Id -> accepted calls, of the file of the same name in `possible_answer/`."""
    beside = path.parent / "possible_answer" / path.name
    if not beside.is_file():
        return {}
    rows: dict[str, Any] = {}
    for number, line in enumerate(beside.read_bytes().splitlines(), 1):
        try:
            if line.strip():
                row = _row(line)
                rows[row["id"]] = row.get("ground_truth")
        except InputError as error:
            raise error.at(str(beside), number) from error
    return rows


def _row(line: bytes) -> Json:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", "get the file again") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise InputError("no row of the leaderboard: it has no id", "this import needs a file of bfcl-eval")
    return row


def _task(row: Json, accepted: dict[str, Any]) -> Task:
    category = row["id"].rpartition("_")[0]
    functions, turns = row.get("function"), row.get("question")
    if category not in SINGLE_TURN and not (functions and turns and len(turns) == 1):
        problem = f"{row['id']} is no task of one question with its own tools"
        raise UsageError(problem, f"take one of the categories {', '.join(SINGLE_TURN)}")
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list) or not turns[0]:
        raise InputError("not one question", "correct or drop the row", field="question")
    if not isinstance(functions, list):
        raise InputError("not an array", "correct or drop the row", field="function")
    shown = [_tool(function, i, LANGUAGES.get(category)) for i, function in enumerate(functions)]
    names = {tool["function"]["name"]: f["name"] for tool, f in zip(shown, functions, strict=True)}
    if len(names) < len(shown):
        raise InputError("two functions of one name", "correct or drop the row", field="function")
    extra: Json = {}
    if row["id"] in accepted or category.endswith("irrelevance"):
        extra["ground_truth"] = accepted.get(row["id"], [])
        if takes := _takes(functions, extra["ground_truth"], category):
            extra["takes"] = takes
    if changed := {name: own for name, own in names.items() if name != own}:
        extra["names"] = changed
    task = new_task(
        messages=_asked(turns[0]),
        tools=shown,
        env={"kind": "simulate"},
        answer=[],
        check="judge",
        tags={"dataset": "bfcl", "category": category, "drift": []},
        source=f"bfcl:{row['id']}",
        extra=extra,
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def _takes(functions: list[Any], golds: Any, category: str) -> Json:
    """Function -> `required`, and `types` (an array with the type of its items): of those that golds name. A
    simple question has one, however its gold spells it."""
    named = (
        {name for gold in golds if isinstance(gold, dict) for name in gold} if isinstance(golds, list) else {}
    )
    if golds and "parallel" not in category and "multiple" not in category:
        named = {functions[0]["name"]}
    takes: Json = {}
    for function in functions:
        if function["name"] in named:
            parameters = function["parameters"]
            types = {name: _typed(part) for name, part in _schemas(parameters.get("properties")).items()}
            takes[function["name"]] = {"required": parameters.get("required") or [], "types": types}
    return takes


def _typed(part: Json) -> Any:
    kind, items = part.get("type"), part.get("items")
    return [kind, items["type"]] if isinstance(items, dict) and items.get("type") else kind


def _asked(turn: list[Any]) -> list[Json]:
    """The dialogue that asks, its system turns at the head of the first user turn."""
    told = [str(m.get("content") or "") for m in turn if isinstance(m, dict) and m.get("role") == "system"]
    asked = [m for m in turn if not (isinstance(m, dict) and m.get("role") == "system")]
    if told and asked and isinstance(asked[0], dict):
        asked[0] = {**asked[0], "content": "\n\n".join([*told, str(asked[0].get("content") or "")])}
    return asked


def _tool(function: Any, i: int, language: str | None) -> Json:
    field = f"function[{i}]"
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InputError("a function without a name", "correct or drop the row", field=field)
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        raise InputError("no object of parameters", "correct or drop the row", field=f"{field}.parameters")
    schema = _schema({**parameters, "type": "dict"})
    schema.setdefault("properties", {})
    about = str(function.get("description") or "")
    if language is not None:
        about += f" Note that the provided function is in {SYNTAX[language]} syntax."
        properties = _schemas(parameters.get("properties"))
        schema["properties"] = {name: _as_text(part, language) for name, part in properties.items()}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", function["name"])[:64]
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


def _schema(part: Json) -> Json:
    """One schema and those inside it, as JSON Schema."""
    schema = {key: value for key, value in part.items() if key != "type"}
    kind = _TYPES.get(str(part.get("type")))
    if kind is not None:
        schema = {"type": kind, **schema}
    if "properties" in schema:
        schema["properties"] = {name: _schema(s) for name, s in _schemas(schema["properties"]).items()}
    for inside in ("items", "additionalProperties"):
        if isinstance(schema.get(inside), dict):
            schema[inside] = _schema(schema[inside])
    required = schema.pop("required", None)
    if isinstance(required, list):
        schema["required"] = list(dict.fromkeys(name for name in required if isinstance(name, str)))
    enum = schema.pop("enum", None)
    if isinstance(enum, list) and kind == "array":  # what each item may be
        schema["items"] = {**schema.get("items", {}), "enum": enum}
    elif isinstance(enum, list):  # a default may be given, too
        default = schema.get("default")
        schema["enum"] = enum if default is None or default in enum else [*enum, default]
    return schema


def _schemas(properties: Any) -> dict[str, Json]:
    parts = properties.items() if isinstance(properties, dict) else ()
    return {name: part for name, part in parts if isinstance(part, dict)}


def _as_text(part: Json, language: str) -> Json:
    """A parameter that is given as the language writes it, in words like the leaderboard's."""
    kind = str(part.get("type"))
    about = [str(part.get("description") or "")]
    if kind == "any":
        about.append(f"This parameter can be of any type of {language} object in string representation.")
    else:
        about.append(f"This is {language} {kind} type parameter in string representation.")
    if isinstance(items := part.get("items"), dict):
        item = items.get("type")
        about.append(f"The list elements are of type {item}; they are not in string representation.")
    if inside := _schemas(part.get("properties")):
        entries = orjson.dumps(inside).decode()
        about.append(f"The dictionary entries have the schema {entries}; not in string representation.")
    kept = {key: value for key, value in part.items() if key in ("default", "enum")}
    return {"type": "string", "description": " ".join(filter(None, about)), **kept}
