"""One name for any source of tools.

    catalog = catalog_of("library")      # a built-in toolbox
    catalog_of("mytools/")               # a toolbox of your own: tools.json, tools.py, tasks.py
    catalog_of("mytools.py")             # a plain Python file of typed functions
    catalog_of("petstore.yaml")          # an OpenAPI 3 document, JSON or YAML
    catalog_of("mcp.json")               # servers of the Model Context Protocol, {"mcpServers": {...}}

A catalog holds what a task needs to have tools: the schemas, and the environment that runs them. Paths stay
as they were given, so records do not tell where a study lay; tm must then run in the same folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams, toolbox
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.io import Rejects
from tmcli.records import Json, Task, from_json, new_task, to_json

DOCUMENTS = (".json", ".yaml", ".yml")
ANY = "a toolbox or its folder, a Python file, an OpenAPI document, an mcp.json"
"""What a source may be."""


@dataclass(frozen=True)
class Catalog:
    """The tools of one source."""

    source: str
    """As it was asked for."""
    name: str
    """What results are broken down by."""
    split: str
    """`seen` or `unseen` of a built-in toolbox; else `own`."""
    tools: list[Json]
    """OpenAI function schemas."""
    env: Json
    """What runs them: `task.env`, but for the seed of its world."""
    classes: dict[str, str]
    """Tool -> its function class, where the source says."""

    def at(self, server: str | None) -> Catalog:
        """The same tools, answered by this server."""
        if server is None:
            return self
        if self.env["kind"] != "http":
            raise UsageError(f"the tools of {self.source} are behind no web server", "leave --server out")
        return replace(self, env={**self.env, "base_url": server})

    def task(self, seed: int = 0, **more: Any) -> Task:
        """A task over these tools; without more, one that asks nothing."""
        env = {**self.env, "seed": seed} if self.env["kind"] == "toolbox" else self.env
        tags = {"toolbox": self.name, "split": self.split, "drift": []} | more.pop("tags", {})
        about = {"messages": [], "tools": self.tools, "env": env, "answer": [], "tags": tags}
        return new_task(**about | more)


def catalog_of(source: str) -> Catalog:
    """The tools of a source. Raises `UsageError` where nothing is of that name, `InputError` where it is
    broken, and asks servers of the Model Context Protocol for their tools."""
    path = Path(source)
    if path.suffix in DOCUMENTS and path.is_file():
        return _document(source)
    if path.is_file() and path.suffix != ".py":
        raise UsageError(f"{source} is no source of tools", f"name {ANY}")
    try:
        box = toolbox.load(source)
    except UsageError as error:
        if path.exists() or len(path.parts) > 1:
            raise
        problem = f"no toolbox, folder or file is named {source!r}"
        raise UsageError(problem, did_you_mean(source, toolbox.names())) from error
    env = {"kind": "toolbox", "toolbox": box.place}
    return Catalog(source, box.name, box.split, box.tools, env, box.classes)


def _document(source: str) -> Catalog:
    top, name = _top(source), Path(source).stem
    if "mcpServers" in top:
        from tmcli.environments import mcp

        tools = asyncio.run(mcp.list_tools(source))
        return Catalog(source, name, "own", tools, {"kind": "mcp", "config": source}, {})
    if "tools" in top and "openapi" not in top:
        raise UsageError(f"{source} is part of a toolbox", f"name the folder: {Path(source).parent}/")
    from tmcli.environments import openapi

    tools = openapi.load(source).tools
    return Catalog(source, name, "own", tools, {"kind": "http", "openapi": source}, {})


def _top(source: str) -> Json:
    """The object that a JSON file holds. What else it may be is for the reader of OpenAPI to say."""
    try:
        content = orjson.loads(Path(source).read_bytes()) if source.endswith(".json") else None
    except (OSError, orjson.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


# ---- tasks of one's own ------------------------------------------------------------------------------


def furnish(path: str, catalog: Catalog, rejects: Rejects | None = None) -> Iterator[Task]:
    """The questions of a JSON Lines file (`-` is stdin), as tasks with these tools.

        {"query": "How many pages has Silent Harbor?", "answer": 214, "seed": 7}

    `answer` is what counts as right, or a list of it, compared as a number where it is one; without it nobody
    knows. `seed` is the world of a toolbox. What else a task may have (`check`, `plan`, `tags`...), and keys
    nobody knows, are kept; `messages` may stand for `query`. The file is opened at once, read as you go.
    """
    source = streams.open_source(path)
    if rejects is not None:
        rejects.open()

    def tasks() -> Iterator[Task]:
        try:
            for number, line in enumerate(streams.lines(source), 1):
                if not line.strip():
                    continue
                try:
                    yield _furnished(line, f"{Path(source.name).name}:{number}", catalog)
                except InputError as error:
                    if rejects is None:
                        raise error.at(source.name, number) from error
                    rejects.add(error.at(source.name, number))
                    rejects.write(line.rstrip(b"\n") + b"\n")
        finally:
            source.close()

    return tasks()


def _furnished(line: bytes, source: str, catalog: Catalog) -> Task:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", "write one object a line") from error
    if not isinstance(row, dict):
        raise InputError("no JSON object", 'write {"query": ..., "answer": ...}')
    if row.keys() & {"tools", "env"}:
        raise InputError(
            "it has tools already", "leave --tools out", field="tools" if "tools" in row else "env"
        )
    query = row.pop("query", None)
    messages = [{"role": "user", "content": query}] if isinstance(query, str) else row.pop("messages", None)
    if messages is None:
        raise InputError("there is no question", 'write "query": "..."', field="query")
    seed = row.pop("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InputError(f"{seed!r} is no whole number", 'write "seed": 7', field="seed")
    golds = row.pop("answer", [])
    golds = golds if isinstance(golds, list) else [golds]
    if any(gold is None or isinstance(gold, dict | list) for gold in golds):
        raise InputError("neither text nor number", "write one of them, or a list of them", field="answer")
    if not isinstance(row.get("tags", {}), dict):
        raise InputError("no object", 'write "tags": {...}', field="tags")
    numbers = bool(golds) and all(
        isinstance(gold, int | float) and not isinstance(gold, bool) for gold in golds
    )
    known = {name: row.pop(name) for name in ("check", "plan", "subgoals", "tags", "source") if name in row}
    task = catalog.task(
        seed,
        **{"check": "number" if numbers else "exact", "source": source} | known,
        messages=messages,
        answer=[toolbox.text_of(gold) for gold in golds],
        extra={key: value for key, value in row.items() if key not in ("id", "kind", "v")},
    )
    from_json(to_json(task))  # every field is checked
    return task


# ---- for people --------------------------------------------------------------------------------------


def signature(tool: Json, function_class: str = "") -> str:
    """One tool in one line.

    >>> due = {"properties": {"title": {"type": "string"}, "n": {"type": "integer"}}, "required": ["title"]}
    >>> signature({"function": {"name": "find", "description": "Returns  ids", "parameters": due}}, "search")
    'find(title: string, n?: integer) [search] - Returns ids'
    """
    function = tool["function"]
    schema = function.get("parameters") or {}
    required = schema.get("required") or ()
    parameters = ", ".join(
        f"{name}{'' if name in required else '?'}: {type_of(part)}"
        for name, part in (schema.get("properties") or {}).items()
    )
    said = " ".join(str(function.get("description") or "").split())
    rest = f"{function_class and f' [{function_class}]'}{said and f' - {said}'}"
    return f"{function['name']}({parameters}){rest}"


def type_of(schema: Any) -> str:
    """A parameter's type in a few words.

    >>> type_of({"type": ["array", "null"], "items": {"enum": ["s", "m"]}}), type_of({"format": "date"})
    ('array of "s"|"m"|null', 'date')
    """
    if not isinstance(schema, dict):
        return "any"
    if isinstance(schema.get("enum"), list):
        return "|".join(map(json.dumps, schema["enum"]))
    if "date" in str(schema.get("format")):
        return str(schema["format"])
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            return "|".join(map(type_of, schema[word]))
    types = schema.get("type", "any")
    words = [
        f"array of {type_of(schema['items'])}" if word == "array" and schema.get("items") else str(word)
        for word in (types if isinstance(types, list) else [types])
    ]
    return "|".join(words)


def argument(text: str, function: Json) -> tuple[str, Any]:
    """`title=Emma`, read as the parameter's type has it; what cannot be stays text, to be refused."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no argument", "write NAME=VALUE, in quotes where it holds spaces")
    schema = ((function.get("parameters") or {}).get("properties") or {}).get(name, {})
    if _takes_text(schema):
        return name, value
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _takes_text(schema: Any) -> bool:
    """Is a value of it written without quotes?"""
    if not isinstance(schema, dict):
        return False
    parts = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(parts, list):
        return any(map(_takes_text, parts))
    if "type" in schema:
        return "string" in schema["type"]
    return any(isinstance(value, str) for value in schema.get("enum") or ())
