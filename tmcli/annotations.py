"""Python annotations as JSON Schema, read from the source and never evaluated.

    schema_of(node, names, aliases)        # ast of `Literal["s", "m"] | None`
    {"type": ["string", "null"], "enum": ["s", "m", None]}

Arguments of a tool come as JSON, so an annotation is one that JSON has a form for: str, int, float, bool,
list, dict, None, Any, Literal, Optional and Union, `Annotated` with a description or with words of JSON
Schema, and names that the file gives to such annotations. For anything else `Unfit` says what to write.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from tmcli.records import Json

_PLAIN: dict[str, Json] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "dict": {"type": "object"},
    "object": {},
    "typing.List": {"type": "array"},
    "typing.Dict": {"type": "object"},
    "typing.Any": {},
}
_OF = ("list", "dict", "typing.List", "typing.Dict", "typing.Optional", "typing.Union", "typing.Literal")
_ANNOTATED = "typing.Annotated"
NAMES = (*_PLAIN, *_OF, _ANNOTATED)
"""All names that an annotation may be made of."""

_KNOWN = "known are: str, int, float, bool, list, dict, None, Any, Literal, Optional, Union, Annotated"

_INSTEAD = {
    "datetime.date": 'Annotated[str, {"format": "date"}]',
    "datetime.datetime": 'Annotated[str, {"format": "date-time"}]',
    "datetime.time": 'Annotated[str, {"format": "time"}]',
    "decimal.Decimal": "float",
    "pathlib.Path": "str",
    "uuid.UUID": "str",
    "bytes": "str",
    "frozenset": "list[...]",
    "set": "list[...]",
    "tuple": "list[...]",
    "typing.Set": "list[...]",
    "typing.Tuple": "list[...]",
}
"""What JSON has no form for: the function would be handed something else than it was promised."""

_JSON_TYPE = {bool: "boolean", int: "integer", str: "string", type(None): "null"}
MAX_DEPTH = 20
"""How deep an annotation may be nested, or its names lead to further ones."""


class Unfit(Exception):
    """An annotation that no schema follows from: problem, remedy."""


def schema_of(
    node: ast.expr, names: Mapping[str, str], aliases: Mapping[str, ast.expr], depth: int = 0
) -> Json:
    """The schema of an annotation. Raises `Unfit`.

    `names`: imported name -> what it is (`L` -> `typing.Literal`); `aliases`: names that the file gives.
    """

    def read(node: ast.expr) -> Json:
        return schema_of(node, names, aliases, depth + 1)

    if depth > MAX_DEPTH:
        raise Unfit("the annotation is nested too deep", "write a simpler one")
    match node:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str(text)):
            return read(_expression(text))
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _union([read(left), read(right)])
        case ast.Name(id=name) if name in aliases:
            return read(aliases[name])
        case ast.Name() | ast.Attribute():
            return dict(_PLAIN[_name(node, names, _PLAIN)])
        case ast.Subscript(value=generic, slice=inside):
            items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            name = _name(generic, names, (*_OF, _ANNOTATED))
            match name.removeprefix("typing.").lower(), items:
                case "literal", _:
                    return _enum(items)
                case "annotated", [first, *rest]:
                    return {**read(first), **_words(rest)}
                case "list", [item]:
                    return {"type": "array", "items": read(item)}
                case "dict", [key, item]:
                    if read(key) != {"type": "string"}:
                        raise Unfit("the keys of a JSON object are texts", "write dict[str, ...]")
                    return {"type": "object", "additionalProperties": read(item)}
                case "optional", [item]:
                    return _union([read(item), {"type": "null"}])
                case "union", _:
                    return _union([read(item) for item in items])
            raise Unfit(
                f"{ast.unparse(node)} has the wrong number of parts", "write list[str], dict[str, int]"
            )
    raise Unfit(f"the annotation {flat(ast.unparse(node))[:80]!r} is no type", _KNOWN)


def literal(node: ast.expr) -> Any:
    """A value as written. Raises `ValueError` where it is no literal, or JSON has no form for it."""
    try:
        value = ast.literal_eval(node)
    except (TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not _is_json(value):
        raise ValueError("JSON has no form for it")
    return value


def flat(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def _name(node: ast.expr, names: Mapping[str, str], allowed: tuple[str, ...] | Mapping[str, Json]) -> str:
    """The full name behind what is written, one of the allowed ones."""
    written = ast.unparse(node)
    head, dot, rest = written.partition(".")
    name = names.get(head, head) + dot + rest
    if name in allowed:
        return name
    if name in _INSTEAD:
        raise Unfit(f"{written} has no form in JSON, as arguments come", f"write {_INSTEAD[name]}")
    if name in NAMES:
        raise Unfit(
            f"{written} is not used as it should be", "write it as in list[str], Optional[str], Literal['a']"
        )
    if f"typing.{written}" in NAMES:
        raise Unfit(f"{written} is not imported", f"write: from typing import {written}")
    raise Unfit(f"the type {flat(written)} is not known", _KNOWN)


def _enum(items: list[ast.expr]) -> Json:
    try:
        values = list(map(literal, items))
    except ValueError as error:
        raise Unfit("Literal holds what is no literal", "list texts or whole numbers") from error
    types = [_JSON_TYPE.get(type(value)) for value in values]
    if None in types:
        raise Unfit("Literal holds neither texts nor whole numbers", "list texts or whole numbers")
    return {"type": _types(types), "enum": values}


def _words(items: list[ast.expr]) -> Json:
    """What `Annotated` adds: a description, words of JSON Schema."""
    from jsonschema import Draft202012Validator, SchemaError

    said: Json = {}
    for item in items:
        try:
            value = literal(item)
        except ValueError:
            value = None
        match value:
            case str():
                said["description"] = flat(value)
            case dict():
                said |= value
            case _:
                problem = f"Annotated holds {flat(ast.unparse(item))}"
                raise Unfit(problem, "give a text, or an object of JSON Schema's words")
    try:
        Draft202012Validator.check_schema(said)
    except SchemaError as error:
        raise Unfit(f"Annotated holds no JSON Schema: {error.message}", "correct its words") from error
    return said


def _union(parts: list[Json]) -> Json:
    """One list of types where that says it all, since every reader of schemas understands it; else anyOf."""
    plain = [part for part in parts if part.keys() <= {"type", "enum"}]
    if {} in parts:
        return {}
    if len(plain) < len(parts):
        return {"anyOf": parts}
    types = [
        word
        for part in parts
        for word in (part["type"] if isinstance(part["type"], list) else [part["type"]])
    ]
    enums = [part.get("enum", [None] if part["type"] == "null" else ()) for part in parts]
    if all(enums) and any("enum" in part for part in parts):
        return {"type": _types(types), "enum": [value for enum in enums for value in enum]}
    return {"anyOf": parts} if any("enum" in part for part in parts) else {"type": _types(types)}


def _types(types: list[Any]) -> Any:
    distinct = list(dict.fromkeys(types))
    return distinct[0] if len(distinct) == 1 else distinct


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unfit(f"the annotation {flat(text)!r} is no type", _KNOWN) from error


def _is_json(value: Any) -> bool:
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return value - value == 0  # neither infinite nor NaN
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return False
