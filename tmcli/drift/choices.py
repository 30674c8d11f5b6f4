"""What of a task `format` may write otherwise: dates, ids, closed lists and units, as far as anyone sees."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tmcli.drift import forms, names
from tmcli.drift.layer import Ground, properties_of
from tmcli.records import Json

MAX_ENUM = 20
"""Longer closed lists stay as they are."""

_ID_NAME = re.compile(r"(?:.*_)?(?:id|ids|no|ref|code|number|ticket|booking|parcel)", re.IGNORECASE)
_QUOTED_ID = re.compile(f"['\"]{forms.pattern_of(forms.ID).pattern}['\"]")
_KEY_WITH_UNIT = re.compile(rf"(?<=\w)_({'|'.join(forms.UNITS)})\b")


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be written otherwise."""

    part: str
    """Key of the entry."""
    value: Any
    """What comes under that key, or is one of the things there."""
    met: bool
    """Does the plan meet it?"""
    turns: int
    """How many turns the plan may lose to it."""


def of(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    """All there is."""
    yield from _dates(ground, rng)
    yield from _ids(ground, rng)
    yield from _enums(ground, rng)
    yield from _units(ground)


def scaled(tools: dict[str, Json], units: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """The parameters in these units: tool -> new name -> [name before, must it be whole?]."""
    found: dict[str, dict[str, list[Any]]] = {}
    for tool, properties in tools.items():
        for key, schema in properties.items():
            unit = names.unit_of(key)
            if unit not in units or not isinstance(schema, dict) or _enum(schema):
                continue
            new = f"{key[: -len(unit)]}{forms.UNITS[unit][0]}"
            if schema.get("type") in ("integer", "number") and new not in properties:
                found.setdefault(tool, {})[new] = [key, schema["type"] == "integer"]
    return found


def dated(value: Any) -> bool:
    """Is there a date in it, as documents write one?"""
    return forms.pattern_of(forms.ISO, inside=True).search(repr(value)) is not None


def with_ids(value: Any) -> bool:
    """Is there a text in it that is an id, as documents write one?"""
    return _QUOTED_ID.search(repr(value)) is not None


def is_date(schema: Any) -> bool:
    """Does a schema speak of a date?"""
    if not isinstance(schema, dict) or schema.get("type") != "string" or "enum" in schema:
        return False
    return schema.get("format") == "date" or (
        "description" in schema and forms.ISO in str(schema["description"])
    )


def some(value: Any, test: Callable[[str], Any]) -> bool:
    """Is there such a text in a value?"""
    if isinstance(value, str):
        return test(value) is not None
    if isinstance(value, dict):
        return any(some(key, test) or some(item, test) for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(some(item, test) for item in value)


def _dates(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    sent = dated(ground.calls)
    met = sent or dated(ground.task.answer)
    found = met
    for tool, properties in ground.takes.items():
        if any(map(is_date, properties.values())):
            found = True
            met = met or tool in ground.planned
    if found and (form := _unused(ground, rng, forms.DATES)):
        yield Choice("dates", form, met, int(sent))


def _ids(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    sent = with_ids(ground.calls)
    met = sent or with_ids(ground.task.answer)
    found = met
    for tool, properties in ground.takes.items():
        for key, schema in properties.items():
            if not isinstance(schema, dict):
                continue
            if (enum := _enum(schema)) and with_ids(enum):
                return  # its values are none of ours, and look like ids
            if schema.get("type") in ("string", "array") and _is_id(ground.before(tool, key)[1]):
                found = True
                met = met or tool in ground.planned
    if found and (form := _unused(ground, rng, forms.IDS)):
        yield Choice("ids", form, met, int(sent))


def _enums(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    """Parameters of one list belong together; a name with two lists keeps them."""
    lists: dict[tuple[str, ...], dict[str, None]] = {}
    used: dict[str, set[tuple[str, ...]]] = {}
    for tool, properties in ground.takes.items():
        for key, schema in properties.items():
            if not isinstance(schema, dict) or not (enum := _enum(schema)):
                continue
            values = tuple(enum)
            if not all(isinstance(value, str) for value in values) or not 1 < len(set(values)) <= MAX_ENUM:
                continue
            for name in (key, ground.before(tool, key)[1]):
                lists.setdefault(values, {})[name] = None
                used.setdefault(name, set()).add(values)
    sent = {key for _, arguments in ground.calls for key in arguments} if lists else set()
    for values, keys in lists.items():
        own = [key for key in keys if len(used[key]) == 1]
        ways = forms.codes(values)
        if own and ways and len(set(values)) == len(values):
            new = dict(zip(values, rng.choice(ways), strict=True))
            met = not sent.isdisjoint(own)
            yield Choice("enums", {"keys": own, "values": new}, met, int(met))


def _units(ground: Ground) -> Iterator[Choice]:
    """Units in names of parameters, and in keys of replies that descriptions and the plan name."""
    if ground.task.subgoals:
        return  # they are looked for in the replies, as they are written
    met = _units_in.__wrapped__(repr(ground.task.plan))
    found = dict(met)
    for tool in ground.live:
        for said in (*properties_of(tool), str(tool["function"].get("description"))):
            found |= _units_in(said)
    for unit in found:
        sent = {
            tool for tool, arguments in ground.calls if any(names.unit_of(key) == unit for key in arguments)
        }
        yield Choice("units", unit, unit in met, len(sent))


@lru_cache(maxsize=4096)
def _is_id(name: str) -> bool:
    return _ID_NAME.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _units_in(text: str) -> dict[str, None]:
    """The units of the keys that a text names."""
    return {match[1]: None for match in _KEY_WITH_UNIT.finditer(text)} if "_" in text else {}


def _enum(schema: Json) -> list[Any]:
    """The closed list of a parameter, or of the members of one; [] where there is none."""
    if "enum" not in schema and "items" not in schema:
        return []
    items = schema.get("items")
    inside = items.get("enum") if isinstance(items, dict) else None
    enum = schema.get("enum", inside)
    return enum if isinstance(enum, list) else []


def _unused(ground: Ground, rng: random.Random, candidates: Sequence[str]) -> str | None:
    """A form in which nothing is written yet, as far as the task shows."""
    task = ground.task
    codes = task.env.get("codes")
    shown = [
        *(str(message.get("content")) for message in task.messages),
        *task.answer,
        *(gold for golds in (task.subgoals or {}).values() for gold in golds),
        *(codes.values() if isinstance(codes, dict) else ()),
    ]
    text = "\n".join(map(str, shown))
    drawn = list(candidates)
    rng.shuffle(drawn)
    return next((form for form in drawn if not forms.pattern_of(form, True).search(text)), None)
