"""Can the task templates of a toolbox be filled in? Each is held to its tools and to one world, none is run.

What a template is, is told in `tmcli/templates.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any, get_args

from tmcli.errors import did_you_mean
from tmcli.records import Check, Json
from tmcli.toolbox import Toolbox

Said = tuple[str, str, str]
"""Field, problem, remedy."""

KEYS = ("given", "ask", "plan", "answer", "check", "cannot")
COMBINES = ("sum", "difference", "max", "min", "count", "set", "argmax", "argmin")
MIN_WORDINGS = 2

UNITS = {
    "c": r"celsius|degrees|°",
    "cm": r"cm|centimet\w+",
    "days": r"days?",
    "eur": r"eur|euros?|€",
    "g": r"g|grams?",
    "h": r"h|hours?",
    "kg": r"kg|kilos?|kilograms?",
    "km": r"km|kilomet\w+",
    "kmh": r"km/h|kilomet\w+ (?:per|an) hour",
    "knots": r"knots?",
    "l": r"l|lit(?:er|re)s?",
    "litres": r"lit(?:er|re)s?",
    "m": r"m|met(?:er|re)s?",
    "min": r"min|minutes?",
    "minutes": r"minutes?",
    "mm": r"mm|millimet\w+",
    "percent": r"per ?cent|percentage|%",
    "pct": r"per ?cent|percentage|%",
    "t": r"t|tons?|tonnes?",
    "usd": r"usd|dollars?|\$",
}
"""A key that ends so -> how a question may name the unit."""


def lines(path: Path) -> list[int]:
    """The line of each template, where TEMPLATES is a list as written."""
    for node in ast.parse(path.read_text("utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if any(isinstance(t, ast.Name) and t.id == "TEMPLATES" for t in targets) and isinstance(
            value, ast.List
        ):
            return [item.lineno for item in value.elts]
    return []


def faults(template: Any, box: Toolbox, world: Any) -> Iterator[Said]:
    """What is wrong with one template."""
    if not isinstance(template, dict):
        yield "", "is no dict", "see tmcli/templates.py for what a template is"
        return
    for key in template:
        if key not in KEYS:
            yield str(key), "is not known here", did_you_mean(str(key), KEYS)
    missing = [key for key in KEYS[:4] if key not in template]
    for key in missing:
        yield key, "is missing", "add it"
    if missing:
        return
    given, plan = template["given"], template["plan"]
    if not isinstance(given, dict) or not isinstance(plan, list) or not plan or not all(map(_is_call, plan)):
        yield "plan", "is no list of (tool, {parameter: value}) over a dict of given rows", "write it so"
        return
    rows = dict(_rows(given, world))
    for slot, table in given.items():
        if slot not in rows:
            known = did_you_mean(str(table), world) if isinstance(world, dict) else "the toolbox has no world"
            yield f"given.{slot}", f"{table!r} is no table of the world with rows", known
    yield from _plan(plan, rows, given, box)
    yield from _ask(template["ask"], rows, given, _slots(plan))
    yield from _answer(template["answer"], rows, given, len(plan))
    if template.get("check", "exact") not in get_args(Check):
        yield (
            "check",
            f"{template['check']!r} is no way to compare",
            did_you_mean(str(template["check"]), get_args(Check)),
        )
    for word, unit in _units(template["answer"]):
        for i, wording in enumerate(template["ask"] if isinstance(template["ask"], list) else []):
            if not re.search(rf"(?<![a-z])(?:{unit})(?![a-z])", str(wording).casefold()):
                yield (
                    f"ask[{i}]",
                    f"does not name the unit of {word!r}",
                    "say in which unit the answer is due",
                )


def _is_call(step: Any) -> bool:
    return isinstance(step, tuple | list) and len(step) == 2 and isinstance(step[1], dict)


def _rows(given: Json, world: Any) -> Iterator[tuple[str, Any]]:
    """An example of what each slot is filled with."""
    for slot, table in given.items():
        if isinstance(table, list | tuple):
            yield slot, table[0] if table else ""
        elif isinstance(world, dict) and isinstance(rows := world.get(table), dict) and rows:
            key, row = next(iter(rows.items()))
            if isinstance(row, dict):
                yield slot, {**row, "id": key}


def _plan(plan: list[Any], rows: Json, given: Json, box: Toolbox) -> Iterator[Said]:
    required = {
        tool["function"]["name"]: tool["function"]["parameters"].get("required", []) for tool in box.tools
    }
    for i, (tool, arguments) in enumerate(plan):
        place = f"plan[{i}]"
        if tool not in box.schemas:
            yield place, f"there is no tool {tool!r}", did_you_mean(str(tool), box.names)
            continue
        for name, value in arguments.items():
            if name not in box.schemas[tool]:
                yield (
                    f"{place}.{name}",
                    f"{tool} has no such parameter",
                    did_you_mean(name, box.schemas[tool]),
                )
            if isinstance(value, tuple) and not (value and isinstance(value[0], int) and 0 <= value[0] < i):
                yield (
                    f"{place}.{name}",
                    f"{value!r} is no path into an earlier reply",
                    f"begin with 0 to {i - 1}",
                )
            if isinstance(value, str):
                yield from _text(value, rows, given, f"{place}.{name}")
        for name in required[tool]:
            if name not in arguments:
                yield f"{place}.{name}", f"{tool} requires it", "give it"


def _ask(ask: Any, rows: Json, given: Json, needed: set[str]) -> Iterator[Said]:
    if not isinstance(ask, list) or not all(isinstance(wording, str) for wording in ask):
        yield "ask", "is no list of texts", "write the question in several wordings"
        return
    if len(set(ask)) < MIN_WORDINGS:
        yield "ask", f"has fewer than {MIN_WORDINGS} different wordings", "say it in other words as well"
    for i, wording in enumerate(ask):
        wrong = list(_text(wording, rows, given, f"ask[{i}]"))
        yield from wrong
        for slot in sorted(needed - _fields(wording) if not wrong else ()):
            yield (
                f"ask[{i}]",
                f"does not tell {slot!r}, which the plan needs",
                f"write {{{slot}[...]}} into it",
            )


def _answer(answer: Any, rows: Json, given: Json, n_calls: int) -> Iterator[Said]:
    paths: list[Any] = []
    match answer:
        case None | str():
            return
        case {"combine": how, "of": [*paths]}:
            if how not in COMBINES:
                yield "answer.combine", f"{how!r} is not known", did_you_mean(str(how), COMBINES)
            names = answer.get("names", [])
            if len(names) != (len(paths) if how in ("argmax", "argmin") else 0):
                yield (
                    "answer.names",
                    f"has {len(names)} names for {len(paths)} values",
                    "name each value of argmax or argmin",
                )
            for i, name in enumerate(names):
                yield from _text(str(name), rows, given, f"answer.names[{i}]")
        case tuple():
            paths = [answer]
        case _:
            yield (
                "answer",
                f"{answer!r} is neither key, path nor combination",
                "see `gold` in tmcli/toolbox.py",
            )
    for path in paths:
        if not (
            isinstance(path, tuple | list) and path and isinstance(path[0], int) and 0 <= path[0] < n_calls
        ):
            yield "answer", f"{path!r} is no path into a reply", f"begin with 0 to {n_calls - 1}"


def _text(text: str, rows: Json, given: Json, place: str) -> Iterator[Said]:
    """Can a text be filled in?"""
    try:
        for slot in _fields(text):
            if slot not in given:
                yield place, f"{{{slot}}} is not given", did_you_mean(slot, given)
                return
        if _fields(text) <= rows.keys():
            text.format(**rows)
    except KeyError as error:
        key = str(error.args[0])
        known = [
            key for slot in _fields(text) for key in (rows[slot] if isinstance(rows[slot], dict) else ())
        ]
        yield place, f"a row has no {key!r}", did_you_mean(key, known)
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        yield place, f"cannot be filled in: {error}", "write {slot[key]}; a brace itself is {{ or }}"


def _fields(text: str) -> set[str]:
    """The slots that a text names."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    return {re.split(r"[.\[]", name)[0] for name in names}


def _slots(plan: list[Any]) -> set[str]:
    """The slots that a plan takes its arguments from."""
    slots = set()
    for _, arguments in plan:
        for value in arguments.values():
            try:
                slots |= _fields(value) if isinstance(value, str) else set()
            except ValueError:  # told where the plan is looked at
                continue
    return slots


def _units(answer: Any) -> Iterator[tuple[str, str]]:
    """The keys of an answer that speak of a unit, and how it may be named."""
    paths = answer["of"] if isinstance(answer, dict) and isinstance(answer.get("of"), list) else [answer]
    if isinstance(answer, dict) and answer.get("combine") in ("count", "argmax", "argmin"):
        return
    for path in paths:
        key = path[-1] if isinstance(path, tuple | list) and path else path
        stem, _, unit = str(key).rpartition("_")
        if stem and unit in UNITS:
            yield str(key), UNITS[unit]
