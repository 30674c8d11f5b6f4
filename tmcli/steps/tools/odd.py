"""Calls that a schema allows and nobody expects, and what is to be thought of what they bring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tmcli.records import Json

ODD: Json = {
    "string": ["", "?", "é \u202e\x00", "x" * 3000],
    "integer": [0, -1, 10**18],
    "number": [0, -1.5, 1e300],
    "boolean": [True, False],
    "array": [[]],
    "object": [{}],
    "null": [None],
}
DAYS = ["", "soon", "2023-02-29", "9999-12-31"]
"""For texts that are to be dates."""


class Fault(NamedTuple):
    """What is wrong with a tool."""

    sort: str
    """Of each sort one is told."""
    line: int | None
    problem: str
    remedy: str


def calls(parameters: Json, known: Json | None) -> Iterator[Json]:
    """All parameters odd at once; then, from a call that is known to work, one at a time."""
    odd = {name: _values(schema) for name, schema in parameters["properties"].items()}
    for i in range(max(map(len, odd.values()), default=1)):
        yield {name: values[i % len(values)] for name, values in odd.items()}
    if known is not None:
        yield known
        for name, values in odd.items():
            yield from ({**known, name: value} for value in values)


def written(arguments: Json) -> str:
    """A call's arguments, short enough to be read."""
    return ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())


def fault(told: Json | str, elsewhere: Json | str, *, objects: bool) -> Fault | None:
    """What is wrong with what the probe told in two processes (a text: the sandbox got no answer). `objects`:
    a tool is to return them."""
    if isinstance(told, str):
        return Fault("silent", None, told, "let it answer in time, whatever it is asked")
    if raised := told.get("raised"):
        if not told["meant"]:
            remedy = "raise LookupError or ValueError with a sentence that a model can learn from"
            said = f": {told['text']}" if told["text"] else ""
            return Fault("crash", told["line"], f"raises {raised}{said}", remedy)
        if not told["text"]:
            return Fault("mute", told["line"], f"raises {raised} without a sentence", "say what is wrong")
    elif told["problem"]:
        return Fault("json", None, f"returns {told['problem']}", "return dicts, lists, texts and numbers")
    elif objects and not told["object"]:
        return Fault("object", None, f"returns {told['text'][:40]}, no object", 'return {"key": value}')
    if told != elsewhere:
        remedy = "use no clock, no chance, no order of a set"
        return Fault("random", None, "replies otherwise in another process", remedy)
    return None


def _values(schema: Any) -> list[Any]:
    schema = schema if isinstance(schema, dict) else {}
    if schema.get("enum"):
        return list(schema["enum"])
    if schema.get("format") == "date":
        return DAYS
    kind = schema.get("type", "string")
    kinds = kind if isinstance(kind, list) else [kind]
    return [value for word in kinds for value in ODD.get(word, [])] or [None]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:30]}...{text[-4:]}"
