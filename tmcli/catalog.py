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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tmcli import toolbox
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json, Task, new_task

DOCUMENTS = (".json", ".yaml", ".yml")
KINDS = "a toolbox folder, a Python file, an OpenAPI document or an MCP configuration"


@dataclass(frozen=True)
class Catalog:
    """The tools of one source."""

    source: str
    """As it was asked for."""
    tools: list[Json]
    """OpenAI function schemas."""
    env: Json
    """What runs them: `task.env`, but for the seed of its world."""
    classes: dict[str, str]
    """Tool -> its function class, where the source says."""

    def task(self, seed: int = 0, **more: Any) -> Task:
        """A task over these tools; without more, one that asks nothing."""
        env = {**self.env, "seed": seed} if self.env["kind"] == "toolbox" else self.env
        return new_task(**{"messages": [], "tools": self.tools, "env": env, "answer": []} | more)


def catalog_of(source: str) -> Catalog:
    """The tools of a source. Raises `UsageError` where nothing is of that name, `InputError` where it is
    broken, and asks servers of the Model Context Protocol for their tools."""
    path = Path(source)
    if path.suffix in DOCUMENTS and path.is_file():
        return _document(source)
    if path.is_file() and path.suffix != ".py":
        raise UsageError(f"{source} is no source of tools", f"name {KINDS}")
    try:
        box = toolbox.load(source)
    except UsageError as error:
        if path.exists() or len(path.parts) > 1:
            raise
        problem = f"no toolbox, folder or file is named {source!r}"
        raise UsageError(problem, did_you_mean(source, toolbox.names())) from error
    return Catalog(source, box.tools, {"kind": "toolbox", "toolbox": source}, box.classes)


def _document(source: str) -> Catalog:
    top = _top(source)
    if "mcpServers" in top:
        from tmcli.environments import mcp

        return Catalog(source, asyncio.run(mcp.list_tools(source)), {"kind": "mcp", "config": source}, {})
    if "tools" in top and "openapi" not in top:
        raise UsageError(f"{source} is part of a toolbox", f"name the folder: {Path(source).parent}/")
    from tmcli.environments import openapi

    return Catalog(source, openapi.load(source).tools, {"kind": "http", "openapi": source}, {})


def _top(source: str) -> Json:
    """The object that a JSON file holds. What else it may be is for the reader of OpenAPI to say."""
    try:
        content = orjson.loads(Path(source).read_bytes()) if source.endswith(".json") else None
    except (OSError, orjson.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


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
