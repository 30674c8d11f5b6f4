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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tmcli.drift import choices, forms, names
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

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_WRITTEN = ("format", "pattern", "default", "examples", "const", "minLength", "maxLength")


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
        found = list(choices.of(ground, rng))
        if not found:
            return None
        chosen = [choice for choice in found if rng.random() < ground.strength]
        due = [choice for choice in found if choice.met] or found
        if not any(choice in due for choice in chosen):
            chosen.insert(0, rng.choice(due))
        entry: Json = {}
        left = ground.most
        for choice in chosen:
            if entry and choice.turns > left:
                continue
            left -= choice.turns
            if choice.part in ("dates", "ids"):
                entry[choice.part] = choice.value
            else:
                entry.setdefault(choice.part, []).append(choice.value)
        if "units" in entry:
            entry["scaled"] = choices.scaled(ground.takes, entry["units"])
        return entry

    def longer(self, calls: Sequence[Call]) -> int:
        found = [self.dates and choices.dated(calls), self.ids and choices.with_ids(calls)]
        used = {key for _, arguments in calls for key in arguments}
        coded = {id(values) for key, values in self.enums.items() if key in used}
        scaled = {tool for tool, arguments in calls if not arguments.keys().isdisjoint(self._new_names(tool))}
        return sum(map(bool, found)) + len(coded) + len(scaled)

    # ---- the interface

    def live(self, tools: list[Json]) -> list[Json]:
        return [self._live(tool) for tool in tools] if self.dates or self.enums or self.scaled else tools

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
        gone = _BOUNDS if scaled else _WRITTEN if self.dates and choices.is_date(schema) else ()
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
                made[renamed[key]] = value if number is None else number
            else:
                made[key] = _mapped(self.enums.get(key, {}), forms.texts(value, self._swap))
        return name, made

    def _faults(self, key: str, value: Any) -> Iterator[str]:
        """What is written as the documents say."""
        if self.dates and choices.some(value, forms.pattern_of(forms.ISO, True).search):
            yield f"{key} must be written {self.dates}, like {forms.example(self.dates)}"
        if self.ids and choices.some(value, forms.pattern_of(forms.ID).fullmatch):
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
