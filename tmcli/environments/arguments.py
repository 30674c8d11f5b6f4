"""Do a call's name and arguments fit the tool's true schema? If not, the sentence the model is told.

Not a JSON Schema validator: names, required parameters, types and enums, in words that are the same for
every tool, so that a model can learn to read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tmcli.records import Json

_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("a string", (str,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "array": ("an array", (list,)),
    "object": ("an object", (dict,)),
    "null": ("null", (type(None),)),
}


def unknown_tool(name: str, names: Iterable[str]) -> str:
    """
    >>> unknown_tool("x", ["a", "b"])
    "unknown tool 'x'; tools are: a, b"
    """
    return f"unknown tool {name!r}; tools are: {_listed(names)}"


def fault(tools: list[Json], name: str, arguments: Json) -> str | None:
    """What is wrong with this call, or None. Unknown before missing before type.

    >>> due = {"properties": {"book_id": {"type": "string"}}, "required": ["book_id"]}
    >>> tools = [{"type": "function", "function": {"name": "find", "parameters": due}}]
    >>> fault(tools, "find", {"book": 1})
    "unknown parameter 'book'; parameters are: book_id"
    >>> fault(tools, "find", {})
    "missing parameter 'book_id'; parameters are: book_id"
    >>> fault(tools, "find", {"book_id": 1})
    'book_id must be a string'
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    if name not in schemas:
        return unknown_tool(name, schemas)
    schema = _object(schemas[name])
    properties = _object(schema.get("properties"))
    required = schema.get("required")
    for key in arguments:
        if key not in properties:
            return f"unknown parameter {key!r}; parameters are: {_listed(properties)}"
    for key in required if isinstance(required, list) else []:
        if key not in arguments:
            return f"missing parameter {key!r}; parameters are: {_listed(properties)}"
    for key, value in arguments.items():
        if wrong := _wrong(key, _object(properties[key]), value):
            return wrong
    return None


def _wrong(place: str, schema: Json, value: Any) -> str | None:
    types = schema.get("type")
    words = [word for word in (types if isinstance(types, list) else [types]) if isinstance(word, str)]
    known = [_TYPES[word] for word in words if word in _TYPES]
    if known and not any(_is(value, classes) for _, classes in known):
        return f"{place} must be {' or '.join(name for name, _ in known)}"
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        return f"{place} must be one of: {', '.join(map(str, enum))}"
    if isinstance(value, list):
        items = _object(schema.get("items"))
        return next((w for i, item in enumerate(value) if (w := _wrong(f"{place}[{i}]", items, item))), None)
    if isinstance(value, dict):
        inside = _object(schema.get("properties"))
        parts = ((key, item) for key, item in value.items() if key in inside)
        return next((w for k, item in parts if (w := _wrong(f"{place}.{k}", _object(inside[k]), item))), None)
    return None


def _is(value: Any, classes: tuple[type, ...]) -> bool:
    return isinstance(value, classes) and (bool in classes or not isinstance(value, bool))


def _object(value: Any) -> Json:
    """Schemas come from anywhere: a part that is no object constrains nothing."""
    return value if isinstance(value, dict) else {}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
