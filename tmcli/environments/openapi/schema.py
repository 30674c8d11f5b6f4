"""OpenAPI's schemas as plain JSON Schema (2020-12) that stands alone: what a model is shown, a call is held
to and a sample is drawn from.

    plain(node)                        # what a client sends: read-only properties are left out
    plain(node, hidden="writeOnly")    # what a server sends

References are written out. Where one leads back to itself, or a schema grows past `MAX_NODES` or
`MAX_DEPTH`, only the type is kept there: a weaker schema, never a wrong one. `nullable` and boolean
`exclusiveMinimum` (3.0) become what they mean, `allOf` is merged where that is possible, and what is no
JSON Schema (a type nobody knows, a pattern that does not compile) is left out, for documents hold such
things. Values of an `enum` are read as its type: `type: string, enum: [1, 2]` means "1" and "2".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tmcli.environments.openapi.source import Node
from tmcli.records import Json

MAX_DEPTH = 12
MAX_NODES = 2000
MAX_TEXT_CHARS = 300
"""A description is cut there: it is read by a model, 54 tools at a time."""
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")


def plain(node: Node, hidden: str = "readOnly") -> Json:
    """The schema at `node`. Raises `InputError` for a dangling reference or what is no schema at all."""
    return _Writer(hidden).schema(node, ())


def shorten(text: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """One line, cut at a word.

    >>> shorten("Get  the\\nbook", 8), shorten("Get the book", 9)
    ('Get the...', 'Get the...')
    """
    line = " ".join(text.split()) if isinstance(text, str) else ""
    return line if len(line) <= limit else line[: limit + 1].rpartition(" ")[0].rstrip(".,;:") + "..."


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, RecursionError, OverflowError):
        return False
    return True


_KEPT: dict[str, Callable[[Any], bool]] = {
    "const": lambda value: True,
    "default": lambda value: True,
    "format": lambda value: isinstance(value, str),
    "pattern": _is_pattern,
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_number,
    "exclusiveMaximum": _is_number,
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "minProperties": _is_count,
    "maxProperties": _is_count,
    "uniqueItems": lambda value: isinstance(value, bool),
}
_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames")
_NAMED = ("properties", "patternProperties")
_LISTED = ("anyOf", "oneOf", "prefixItems")
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


class _Writer:
    """Writes one schema out, within one budget."""

    def __init__(self, hidden: str) -> None:
        self.hidden = hidden
        self.n_nodes = 0
        self.gone: set[str] = set()
        """Names of all properties left out so far."""

    def schema(self, node: Node, above: tuple[int, ...]) -> Json:
        """`above`: the parts we are inside of, so that a circle is seen."""
        beside = node.value if isinstance(node.value, dict) and "$ref" in node.value else {}
        node = node.follow()
        if isinstance(node.value, bool):
            return {} if node.value else {"not": {}}
        if not isinstance(node.value, dict):
            raise node.fault("a schema that is no object", "correct the document")
        self.n_nodes += 1
        if id(node.value) in above or len(above) >= MAX_DEPTH or self.n_nodes > MAX_NODES:
            return {"type": kind} if (kind := _type(node.value)) else {}
        out = self._written(node, (*above, id(node.value)))
        for key in ("description", "default"):  # what may stand beside a reference
            if key in beside:
                out[key] = shorten(beside[key]) if key == "description" else beside[key]
        return out

    def _written(self, node: Node, above: tuple[int, ...]) -> Json:
        value: Json = node.value
        out: Json = {}
        if kind := _type(value):
            out["type"] = kind
        if text := shorten(value.get("description")):
            out["description"] = text
        out.update({key: value[key] for key, good in _KEPT.items() if key in value and good(value[key])})
        if self.hidden == "writeOnly":  # samples are drawn from these; a model would only read more
            listed = value.get("examples")
            if (
                examples := listed
                if isinstance(listed, list)
                else [value[k] for k in ("example",) if k in value]
            ):
                out["examples"] = examples
        for limit in ("Minimum", "Maximum"):  # a boolean in 3.0
            if value.get(f"exclusive{limit}") is True and limit.lower() in out:
                out[f"exclusive{limit}"] = out.pop(limit.lower())
        if isinstance(value.get("enum"), list) and (members := _members(value["enum"], kind)):
            out["enum"] = members
        for key in _ONE:
            if isinstance(value.get(key), dict | bool):
                inner = value[key]
                out[key] = inner if isinstance(inner, bool) else self.schema(node.into(key), above)
        for key in _NAMED:
            if isinstance(value.get(key), dict):
                out[key] = self._properties(node.into(key), above, patterns=key == "patternProperties")
        if isinstance(value.get("required"), list):
            gone = self._hidden(node)
            due = [name for name in value["required"] if isinstance(name, str) and name not in gone]
            if due:
                out["required"] = list(dict.fromkeys(due))
        for key in _LISTED:
            if isinstance(value.get(key), list) and value[key]:
                listed = node.into(key)
                out[key] = [self.schema(listed.into(i), above) for i in range(len(value[key]))]
        if isinstance(value.get("allOf"), list) and value["allOf"]:
            listed = node.into("allOf")
            out = _merged([self.schema(listed.into(i), above) for i in range(len(value["allOf"]))], out)
            if due := out.pop("required", []):  # one part may ask for what another hides
                shown = out.get("properties", {})
                out["required"] = [name for name in due if name in shown or name not in self.gone]
        return _nullable(out) if value.get("nullable") is True else out

    def _properties(self, node: Node, above: tuple[int, ...], patterns: bool) -> Json:
        gone = self._hidden(Node({"properties": node.value}, node.place, node.resolver, node.source))
        return {
            name: self.schema(node.into(name), above)
            for name in node.value
            if name not in gone and (not patterns or _is_pattern(name))
        }

    def _hidden(self, node: Node) -> set[str]:
        properties = node.value.get("properties")
        if not isinstance(properties, dict):
            return set()
        gone = {
            name
            for name, part in properties.items()
            if isinstance(part, dict) and part.get(self.hidden) is True
        }
        self.gone |= gone
        return gone


def _type(value: Json) -> str | list[str] | None:
    """The type as JSON Schema has it; what is left out there follows from `properties` or `items`."""
    said = value.get("type")
    words = [word for word in (said if isinstance(said, list) else [said]) if word in TYPES]
    if not words and said is None:
        words = ["object"] if isinstance(value.get("properties"), dict) else []
        words = ["array"] if isinstance(value.get("items"), dict) and not words else words
    if words and value.get("nullable") is True and "null" not in words:
        words = [*words, "null"]
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else words or None


def _members(values: list[Any], kind: str | list[str] | None) -> list[Any]:
    """An enum's values as values of its type; what cannot be one is left out, and so are repeats."""
    kinds = kind if isinstance(kind, list) else [kind] if kind else []
    known = [word for word in kinds if word in _CLASSES]
    members: list[Any] = []
    for value in values:
        if known and value is not None and not any(_fits(value, word) for word in known):
            value = _read_as(value, known[0])
            if value is None:
                continue
        if not any(value == other and type(value) is type(other) for other in members):
            members.append(value)
    return members


def _fits(value: Any, kind: str) -> bool:
    return isinstance(value, _CLASSES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _read_as(value: Any, kind: str) -> Any:
    if kind == "string":
        return json.dumps(value)
    try:
        read = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
    return read if _fits(read, kind) else None


def _nullable(schema: Json) -> Json:
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    if kind is None and (schema.keys() & {"allOf", "anyOf", "oneOf", "const"}):
        words: Json = {key: schema.pop(key) for key in ("description", "default") if key in schema}
        return {**words, "anyOf": [schema, {"type": "null"}]}
    return schema


def _merged(parts: list[Json], beside: Json) -> Json:
    """`allOf` and what stands beside it as one schema; where they speak of the same thing, `allOf` stays."""
    one: Json = {}
    for part in [*parts, beside]:
        for key, value in part.items():
            if key not in one or one[key] == value or key in ("description", "default"):
                one[key] = value  # the words beside `allOf` come last, and win
            elif key == "properties":
                one[key] = {**one[key], **{n: _both(one[key].get(n), s) for n, s in value.items()}}
            elif key == "required":
                one[key] = list(dict.fromkeys([*one[key], *value]))
            elif key == "additionalProperties":
                one[key] = True if True in (one[key], value) else {}  # each spoke of its own properties only
            else:
                return {**beside, "allOf": parts}
    if one.get("additionalProperties") is False and len(parts) + bool(beside) > 1:
        del one["additionalProperties"]
    return one


def _both(one: Json | None, other: Json) -> Json:
    return other if one is None or one == other else {"allOf": [one, other]}
