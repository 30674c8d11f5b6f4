"""format: values are taken and given in another form than the documents say. A refusal teaches it.

    dates   21/03/1998 or 19980321 for 1998-03-21, in any text
    ids     417/H, H-417 or #H417 for H417, where a text is one
    enums   capitals or first letters: SINGLE or SIN for single
    units   another unit, said by the name: distance_m: 12500 for distance_km: 12.5

A form holds for all tools of the task, so that what one replies another takes. Questions and golds keep the
documented form; an answer is right in either. What a number means is said by the question: no gold changes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from tmcli.drift import forms, names
from tmcli.drift.layer import (
    Call,
    Ground,
    Layer,
    Told,
    name_of,
    properties_of,
    renamed_properties,
    with_properties,
)
from tmcli.records import Json

MAX_ENUM = 20
"""Longer closed lists stay as they are."""

_ID_NAME = re.compile(r"(?:.*_)?(?:id|ids|no|ref|code|number|ticket|booking|parcel)", re.IGNORECASE)
_KEY_WITH_UNIT = re.compile(rf"\w+_({'|'.join(forms.UNITS)})\b")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_WRITTEN = ("format", "pattern", "default", "examples", "const", "minLength", "maxLength")

Choice = tuple[str, Any, bool]
"""Part of the entry, its value, and whether the plan meets it."""


class Format(Layer):
    kind = "format"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.dates: str | None = entry.get("dates")
        """The form of dates."""
        self.ids: str | None = entry.get("ids")
        """The form of ids."""
        self.units: list[str] = entry.get("units", [])
        """Units that become smaller ones."""
        self.scaled: dict[str, dict[str, list[Any]]] = entry.get("scaled", {})
        """Tool -> parameter -> [its name before, must it be whole?]."""
        self.enums: dict[str, dict[str, str]] = {}
        """Key -> value -> the new way to write it."""
        for enum in entry.get("enums", ()):
            self.enums |= dict.fromkeys(enum["keys"], enum["values"])
        self._old_values = {
            key: {new: old for old, new in values.items()} for key, values in self.enums.items()
        }
        self._both = {key: values | self._old_values[key] for key, values in self.enums.items()}
        """Replies: swapped, so that each comes back."""
        self._smaller = {unit: forms.UNITS[unit] for unit in self.units}
        self._larger = {small: (unit, factor) for unit, (small, factor) in self._smaller.items()}

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        found = [*_dates(ground, rng), *_ids(ground, rng), *_enums(ground, rng), *_units(ground)]
        if not found:
            return None
        chosen = [choice for choice in found if rng.random() < ground.strength]
        if not any(met for _, _, met in chosen):
            chosen.append(rng.choice([choice for choice in found if choice[2]] or found))
        entry: Json = {}
        for part, value, _ in chosen:
            if part in ("dates", "ids"):
                entry[part] = value
            elif value not in entry.setdefault(part, []):
                entry[part].append(value)
        if "units" in entry:
            entry["scaled"] = _scaled_parameters(ground.takes, entry["units"])
        return entry

    # ---- the interface

    def live(self, tools: list[Json]) -> list[Json]:
        return [self._live(tool) for tool in tools]

    def named(self, tool: str, parameter: str) -> tuple[str, str]:
        return tool, self._new_names(tool).get(parameter, parameter)

    def before(self, tool: str, parameter: str) -> tuple[str, str]:
        return tool, self.scaled.get(tool, {}).get(parameter, [parameter])[0]

    def _live(self, tool: Json) -> Json:
        properties = properties_of(tool)
        if not properties:
            return tool
        renamed = self._new_names(name_of(tool)) if self.scaled else {}
        taken = {key: self._taken(key, schema, key in renamed) for key, schema in properties.items()}
        if any(taken[key] is not schema for key, schema in properties.items()):
            tool = with_properties(tool, taken, {})
        return renamed_properties(tool, renamed) if renamed else tool

    def _taken(self, key: str, schema: Any, scaled: bool) -> Any:
        """The schema of a parameter as it is taken now."""
        if not isinstance(schema, dict):
            return schema
        if key in self.enums:
            schema = self._recoded(schema, self.enums[key])
            if isinstance(schema.get("items"), dict):
                schema = {**schema, "items": self._recoded(schema["items"], self.enums[key])}
        gone = _BOUNDS if scaled else _WRITTEN if self.dates and _is_date(schema) else ()
        if gone and any(name in schema for name in gone):
            return {name: part for name, part in schema.items() if name not in gone}
        return schema

    def _recoded(self, schema: Json, values: dict[str, str]) -> Json:
        if not isinstance(schema.get("enum"), list):
            return schema
        kept = {name: part for name, part in schema.items() if name not in _WRITTEN}
        return {**kept, "enum": [_mapped(values, value) for value in schema["enum"]]}

    def _new_names(self, tool: str) -> dict[str, str]:
        return {old: new for new, (old, _) in self.scaled.get(tool, {}).items()}

    # ---- calls

    def inward(self, name: str, arguments: Json) -> Call:
        scaled = self.scaled.get(name, {})
        taken: Json = {}
        faults: list[str] = []
        for key, value in arguments.items():
            if key in scaled:
                old, whole = scaled[key]
                _, factor = self._larger[names.unit_of(key)]
                number = forms.unscaled(value, factor)
                if whole and isinstance(number, float):
                    number = None
                if number is None and not whole and isinstance(value, (int, float)):
                    number = value / factor
                if number is None and value is not None:
                    faults.append(f"{key} must be a multiple of {factor}")
                taken[old] = number
                continue
            faults += self._faults(key, value)
            taken[key] = _mapped(self._old_values.get(key, {}), forms.texts(value, self._swap))
        if faults:
            raise Told("; ".join(dict.fromkeys(faults)))
        return name, taken

    def outward_call(self, name: str, arguments: Json) -> Call:
        renamed = self._new_names(name)
        made: Json = {}
        for key, value in arguments.items():
            if key in renamed:
                _, factor = self._smaller[names.unit_of(key)]
                number = forms.scaled(value, factor)
                made[renamed[key]] = value * factor if number is None else number
            else:
                made[key] = _mapped(self.enums.get(key, {}), forms.texts(value, self._swap))
        return name, made

    def _faults(self, key: str, value: Any) -> Iterator[str]:
        """What is written as the documents say."""
        if self.dates and _some(value, forms.pattern_of(forms.ISO, True).search):
            yield f"{key} must be written {self.dates}, like {forms.example(self.dates)}"
        if self.ids and _some(value, forms.pattern_of(forms.ID).fullmatch):
            yield f"{key} must be written like {forms.example(self.ids)}"

    # ---- replies

    def outward(self, name: str, arguments: Json, value: Any) -> Any:
        return self._turned(value, self._smaller, forms.scaled)

    def inward_reply(self, name: str, arguments: Json, value: Any) -> Any:
        return self._turned(value, self._larger, forms.unscaled)

    def outward_error(self, name: str, arguments: Json, value: Json) -> Json:
        known = self._new_names(name)

        def told(text: str) -> str:
            if self.dates:
                text = forms.date_swap(self.dates)(text).replace(forms.ISO, self.dates)
            if self.ids:
                text = forms.id_swap(self.ids, True)(text)
            return _NAME.sub(lambda word: known.get(word[0], word[0]), text) if known else text

        return {key: forms.texts(item, told) for key, item in value.items()}

    def _turned(self, value: Any, units: dict[str, tuple[str, int]], scale: Callable[[Any, int], Any]) -> Any:
        if isinstance(value, str):
            return self._swap(value)
        if isinstance(value, list):
            return [self._turned(item, units, scale) for item in value]
        if not isinstance(value, dict):
            return value
        told: Json = {}
        for key, item in value.items():
            unit = names.unit_of(key)
            if unit in units:
                other, factor = units[unit]
                new = f"{key[: -len(unit)]}{other}"
                number = scale(item, factor)
                if number is not None and new not in value:
                    told[new] = number
                    continue
            coded = _mapped(self._both.get(key, {}), item)
            told[self._swap(key)] = self._turned(item, units, scale) if coded is item else coded
        return told if len(told) == len(value) else value

    def _swap(self, text: str) -> str:
        if self.dates:
            text = forms.date_swap(self.dates)(text)
        return forms.id_swap(self.ids)(text) if self.ids else text

    # ---- what is right

    def answer(self, golds: list[str]) -> list[str]:
        return list(dict.fromkeys([*golds, *map(self._gold, golds)]))

    def subgoals(self, golds: dict[str, list[str]]) -> dict[str, list[str]]:
        return {tool: list(map(self._gold, due)) for tool, due in golds.items()}

    def _gold(self, gold: str) -> str:
        pieces = gold.split(", ")
        for values in self.enums.values():
            pieces = [values.get(piece, piece) for piece in pieces]
        return ", ".join(map(self._swap, pieces))


_NAME = re.compile(r"\w+")


def _mapped(values: dict[str, str], value: Any) -> Any:
    """A value of a closed list, or a list of such, in the other way of writing; itself where it is none."""
    if not values:
        return value
    if isinstance(value, str):
        return values.get(value, value)
    if isinstance(value, list) and any(isinstance(item, str) and item in values for item in value):
        return [values.get(item, item) if isinstance(item, str) else item for item in value]
    return value


def _some(value: Any, test: Callable[[str], Any]) -> bool:
    """Is there such a text in a value?"""
    if isinstance(value, str):
        return test(value) is not None
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return isinstance(value, list) and any(_some(item, test) for item in value)


# ---- what there is to change -----------------------------------------------------------------------


def _dates(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    called = [step["arguments"] for step in ground.task.plan or []]
    met = _some([called, ground.task.answer], forms.pattern_of(forms.ISO, True).search)
    found = met
    for tool, properties in ground.takes.items():
        if any(map(_is_date, properties.values())):
            found = True
            met = met or tool in ground.planned
    if found and (form := _unused(ground, rng, forms.DATES)):
        yield "dates", form, met


def _ids(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    is_id = forms.pattern_of(forms.ID).fullmatch
    called = [step["arguments"] for step in ground.task.plan or []]
    met = _some([called, ground.task.answer], is_id)
    found = met
    for tool, properties in ground.takes.items():
        for key, schema in properties.items():
            if not isinstance(schema, dict):
                continue
            if (enum := _enum(schema)) and _some(enum, is_id):
                return  # its values are none of ours, and look like ids
            if schema.get("type") in ("string", "array") and _ID_NAME.fullmatch(ground.before(tool, key)[1]):
                found = True
                met = met or tool in ground.planned
    if found and (form := _unused(ground, rng, forms.IDS)):
        yield "ids", form, met


def _enums(ground: Ground, rng: random.Random) -> Iterator[Choice]:
    """Parameters of one list belong together; a name with two lists keeps them."""
    lists: dict[tuple[str, ...], dict[str, None]] = {}
    met: set[tuple[str, ...]] = set()
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
            if tool in ground.planned:
                met.add(values)
    for values, keys in lists.items():
        own = [key for key in keys if len(used[key]) == 1]
        ways = forms.codes(values)
        if own and ways and len(set(values)) == len(values):
            new = dict(zip(values, rng.choice(ways), strict=True))
            yield "enums", {"keys": own, "values": new}, values in met


def _units(ground: Ground) -> Iterator[Choice]:
    """Units in names of parameters, and in keys of replies that descriptions and the plan name."""
    if ground.task.subgoals:
        return  # they are looked for in the replies, as they are written
    met = dict(_units_in(repr(ground.task.plan)))
    found = dict(met)
    for tool in ground.live:
        for said in (*properties_of(tool), str(tool["function"].get("description"))):
            found |= _units_in(said)
    for unit in found:
        yield "units", unit, unit in met


@lru_cache(maxsize=4096)
def _units_in(text: str) -> dict[str, None]:
    """The units of the keys that a text names."""
    return {match[1]: None for match in _KEY_WITH_UNIT.finditer(text)} if "_" in text else {}


def _scaled_parameters(tools: dict[str, Json], units: list[str]) -> dict[str, dict[str, list[Any]]]:
    """Tool -> new name -> [name before, must it be whole?]."""
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


def _enum(schema: Json) -> list[Any]:
    """The closed list of a parameter, or of the members of one; [] where there is none."""
    items = schema.get("items")
    inside = items.get("enum") if isinstance(items, dict) else None
    enum = schema.get("enum", inside)
    return enum if isinstance(enum, list) else []


def _is_date(schema: Any) -> bool:
    if not isinstance(schema, dict) or schema.get("type") != "string" or "enum" in schema:
        return False
    return schema.get("format") == "date" or forms.ISO in str(schema.get("description"))


def _unused(ground: Ground, rng: random.Random, candidates: tuple[str, ...]) -> str | None:
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
    left = [form for form in candidates if not forms.pattern_of(form, True).search(text)]
    return rng.choice(left) if left else None
