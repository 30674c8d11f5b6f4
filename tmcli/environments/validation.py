"""Does a call fit its tool's schema in every respect? JSON Schema, in the words of `arguments.py`.

`arguments.fault` says what is commonest: names, types, enums. Here comes the rest: ranges, lengths,
patterns, formats, choices. Where there is no server, this is what refuses a wrong call. A schema that is
none constrains nothing beyond `arguments.fault`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import orjson

from tmcli.environments.arguments import fault
from tmcli.records import Json

_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} keys",
    "maxProperties": "must have at most {} keys",
    "pattern": "must match {}",
    "const": "must be {}",
}
_FORMATS = {
    "date": "a date like 2024-05-31",
    "date-time": "a date and time like 2024-05-31T12:00:00Z",
    "time": "a time like 12:00:00Z",
    "email": "an e-mail address",
    "uuid": "a UUID",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "an address like https://example.org",
    "int32": "a whole number of 32 bits",
    "int64": "a whole number of 64 bits",
}


PATTERN_S = 0.1
"""So long may one pattern search in one value."""


class Validator:
    """One tool's schema, made ready once."""

    def __init__(self, tool: Json) -> None:
        self.tool = tool
        function = tool["function"]
        self.name: str = function["name"]
        self._rest = checker(function.get("parameters"))

    def wrong(self, arguments: Json) -> str | None:
        """The sentence the model is told, or None."""
        return fault([self.tool], self.name, arguments) or worst(self._rest, arguments)


def checker(schema: Any) -> Any:
    """A jsonschema validator; None for what is no schema. Nothing is ever fetched for it."""
    try:
        return _checker(orjson.dumps(schema))
    except (TypeError, orjson.JSONEncodeError):
        return None


@lru_cache(maxsize=1024)
def _checker(text: bytes) -> Any:
    """Made once a schema, not once an episode: that takes longer than all else in an episode."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    schema = orjson.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError):
        return None
    registry: Any = Registry()
    return _bounded()(schema, registry=registry, format_checker=_formats())


@cache
def _bounded() -> Any:
    """JSON Schema with a clock on its patterns."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    return extend(Draft202012Validator, {"pattern": _pattern})


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[Any]:
    """`pattern` with a clock: a hostile one could search for ever. What takes longer constrains nothing."""
    import regex
    from jsonschema.exceptions import ValidationError

    try:
        if isinstance(value, str) and not regex.search(pattern, value, timeout=PATTERN_S):
            yield ValidationError(f"{value!r} does not match {pattern!r}")
    except (TimeoutError, regex.error):
        return


def worst(validator: Any, value: Any, place: str = "") -> str | None:
    """What is wrong most, as a sentence; None when nothing is."""
    from jsonschema.exceptions import relevance
    from referencing.exceptions import Unresolvable

    if validator is None:
        return None
    try:
        error = max(validator.iter_errors(value), key=relevance, default=None)
    except (Unresolvable, RecursionError):  # a reference to nowhere constrains nothing
        return None
    return None if error is None else _sentence(error, place)


def _sentence(error: Any, place: str) -> str:
    where = _place([place, *error.absolute_path] if place else error.absolute_path)
    word, due = error.validator, error.validator_value
    if word in ("anyOf", "oneOf"):
        return (
            _none_of(error, place) if error.context else f"{where or 'the arguments'} fits more than one form"
        )
    if word == "required":
        name = next((name for name in due if name not in error.instance), "")
        return f"{where} lacks {name!r}" if where else f"missing parameter {name!r}"
    where = where or "the arguments"
    if word in _LIMITS:
        return f"{where} {_LIMITS[word].format(due if isinstance(due, str) else json.dumps(due))}"
    if word == "type":
        return f"{where} must be of type {' or '.join(due) if isinstance(due, list) else due}"
    if word == "enum":
        return f"{where} must be one of: {', '.join(map(str, due))}"
    if word == "format":
        return f"{where} must be {_FORMATS.get(due, f'of format {due}')}"
    if word == "uniqueItems":
        return f"{where} must not hold an item twice"
    return f"{where}: {error.message}"[:300]


def _none_of(error: Any, place: str) -> str:
    """What each form lacks, one after the other."""
    from jsonschema.exceptions import relevance

    forms: dict[int, list[Any]] = {}
    for part in error.context:
        forms.setdefault(part.schema_path[0], []).append(part)
    sentences = [_sentence(max(parts, key=relevance), place) for parts in forms.values()]
    return " or ".join(dict.fromkeys(sentences))[:300]


def _place(path: Iterable[str | int]) -> str:
    """
    >>> _place(["a", 0, "b"])
    'a[0].b'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


@cache
def _formats() -> Any:
    """The formats that are held: those the standard library can tell, and OpenAPI's integers."""
    from jsonschema import FormatChecker

    formats = FormatChecker(["email", "ipv4", "ipv6", "date", "uuid"])
    for name, holds in _HELD.items():
        formats.checks(name, ValueError)(holds)
    return formats


def _is_moment(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    return value[10:11] in ("T", "t", " ") and datetime.fromisoformat(value).tzinfo is not None


def _is_time(value: Any) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(f"2024-05-31T{value}"))


def _is_address(value: Any) -> bool:
    scheme, colon, rest = value.partition(":") if isinstance(value, str) else ("a", ":", "b")
    return bool(colon and rest) and scheme[:1].isalpha() and not any(c.isspace() for c in rest)


_HELD = {
    "date-time": _is_moment,
    "time": _is_time,
    "uri": _is_address,
    "int32": lambda value: not isinstance(value, int) or -(2**31) <= value < 2**31,
    "int64": lambda value: not isinstance(value, int) or -(2**63) <= value < 2**63,
}
