"""Are these function schemas that every model and server can read? All faults, not the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tmcli.errors import InputError, did_you_mean
from tmcli.records import Json

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI-compatible servers take for a name."""

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_SAYS_TYPE = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def faults(tools: Any, source: str, *, typed: bool = True) -> Iterator[InputError]:
    """What is wrong with a list of tools. `typed`: a parameter without a type is wrong."""
    if not isinstance(tools, list) or not tools:
        yield InputError("has no list of tools", 'write "tools": [{...}]', field="tools", source=source)
        return
    seen: set[str] = set()
    for i, tool in enumerate(tools):
        for place, problem, remedy in _tool(tool, f"tools[{i}]", seen, typed):
            yield InputError(problem, remedy, field=place, source=source)


def _tool(tool: Any, place: str, seen: set[str], typed: bool) -> Iterator[tuple[str, str, str]]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        yield place, "is no function schema", 'write {"type": "function", "function": {"name": ..., ...}}'
        return
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        said = "has no name" if name is None else f"has the name {name!r}"
        yield place, said, "use at most 64 letters, digits, _ and -"
        name = place
    elif name in seen:
        yield place, f"is a second tool named {name!r}", "rename one of them"
    seen.add(name)
    description = function.get("description")
    if not isinstance(description, str) or not description.strip():
        yield name, "has no description", "say in a sentence what it does and returns"
    parameters = function.get("parameters")
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        yield (
            f"{name}.parameters",
            "is no schema of an object",
            'write {"type": "object", "properties": {...}}',
        )
        return
    yield from _object(parameters, name, typed)


def _object(parameters: Json, name: str, typed: bool) -> Iterator[tuple[str, str, str]]:
    from jsonschema import Draft202012Validator

    broken = set()
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(parameters):
        path = [str(key) for key in error.absolute_path]
        broken.add(path[1] if path[:1] == ["properties"] and len(path) > 1 else "")
        yield _place(name, path), *_said(path, error)
    properties = parameters.get("properties", {})
    if not isinstance(properties, dict):
        return
    for key, schema in properties.items():
        if key not in broken and isinstance(schema, dict):
            yield from _parameter(schema, f"{name}.{key}", typed)
    required = parameters.get("required", [])
    for key in required if isinstance(required, list) else []:
        if isinstance(key, str) and key not in properties:
            yield f"{name}.required", f"{key!r} is no parameter", did_you_mean(key, properties)


def _parameter(schema: Json, place: str, typed: bool) -> Iterator[tuple[str, str, str]]:
    from jsonschema import Draft202012Validator
    from referencing.exceptions import Unresolvable

    if typed and not any(word in schema for word in _SAYS_TYPE):
        yield place, "has no type", 'add "type": "string", or what it is'
    bare = {key: value for key, value in schema.items() if key not in ("enum", "default")}
    for word, due, values in (
        ("enum", bare, schema.get("enum", [])),
        ("default", schema, [schema["default"]] if schema.get("default") is not None else []),
    ):
        for value in values:
            try:
                error = next(Draft202012Validator(due).iter_errors(value), None)
            except Unresolvable:  # a schema that refers to another place says nothing here
                continue
            if error is not None:
                yield f"{place}.{word}", error.message, f"correct the {word}, or the type"


def _place(name: str, path: list[str]) -> str:
    if path[:1] == ["properties"] and len(path) > 1:
        path = path[1:]
    return ".".join([name, *path])


def _said(path: list[str], error: Any) -> tuple[str, str]:
    """The library's sentence, or ours where we know better."""
    if path[-1:] == ["type"] and isinstance(error.instance, str):
        return f"{error.instance!r} is no type", did_you_mean(error.instance, TYPES)
    due = error.schema.get("type") if isinstance(error.schema, dict) else None
    remedy = f"write {'an' if str(due)[:1] in 'aio' else 'a'} {due}" if isinstance(due, str) else "correct it"
    return error.message, remedy
